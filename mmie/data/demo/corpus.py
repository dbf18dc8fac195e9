"""The demo corpus: files in the package's own layout, in which the picture decides.

`mmie.data.demo.posts` describes the posts, `mmie.data.demo.bounds` the scores that they allow.
"""

import warnings
from pathlib import Path

from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.demo.bounds import BOUNDS_FILE, DemoBounds
from mmie.data.demo.writing import write_demo


class DemoCorpus(JsonlCorpus):
    """Demo corpus, written with the default settings of `write_demo` if its folder does not exist.

    Args:
        root: Folder of the corpus.
        strict: Whether a malformed line is an error. Otherwise its post is skipped.
        max_missing: Largest share of the named pictures that may be missing or unreadable.
        entity_types: Entity types in the order of their tag ids; None takes those of the training
            split, sorted.
        relation_labels: Relation labels in the order of their ids; None takes those of the training
            split, sorted. ``None`` comes first whether given or not.
        follow_links: Whether links may lead to pictures outside the folder.

    Attributes:
        bounds: Best scores that the text alone allows.

    Raises:
        CorpusError: The folder exists and is not a demo corpus.
    """

    def __init__(
        self,
        root: str | Path = "demo",
        strict: bool = True,
        max_missing: float = 0.05,
        entity_types: list[str] | None = None,
        relation_labels: list[str] | None = None,
        follow_links: bool = False,
    ) -> None:
        folder = Path(root).expanduser()
        if folder.exists():
            self.bounds = DemoBounds.read(folder / BOUNDS_FILE)
        else:
            self.bounds = write_demo(folder)
            warnings.warn(
                f"{folder} did not exist: the demo corpus was written there", stacklevel=2
            )
        super().__init__(
            root,
            strict=strict,
            max_missing=max_missing,
            entity_types=entity_types,
            relation_labels=relation_labels,
            follow_links=follow_links,
        )
