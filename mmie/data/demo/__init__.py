"""Demo corpus: writing it and reading it."""

from mmie.data.demo.bounds import DemoBounds, TextBound, render_bounds
from mmie.data.demo.corpus import DemoCorpus
from mmie.data.demo.writing import write_demo

__all__ = ["DemoBounds", "DemoCorpus", "TextBound", "render_bounds", "write_demo"]
