"""The demo corpus: writing it, and reading it."""

from mmie.data.demo.corpus import (
    DemoBounds,
    DemoCorpus,
    TextBound,
    render_bounds,
    write_demo,
)

__all__ = ["DemoBounds", "DemoCorpus", "TextBound", "render_bounds", "write_demo"]
