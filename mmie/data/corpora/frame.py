"""Posts in pandas frames, for training from Python."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.rows import RowCorpus, find_splits
from mmie.types import Split

_SPLIT_COLUMN = "split"


class FrameCorpus(RowCorpus):
    """Posts in the rows of pandas frames, whose columns are those of `mmie.data.corpora.rows`.

    Example::

        corpus = FrameCorpus({"train": train, "valid": valid}, root="data/pictures")
        data = MultimodalDataModule(corpus, task="ner")

    Args:
        frames: A frame for each split, by its name (``train``, ``valid`` or ``validation``,
            ``test``); or one frame, whose column ``split`` holds the names. Without that column all
            rows are the training split.
        root: Folder that paths of pictures are relative to and must not lead out of.
        name: Name of the corpus in messages and tables.
        columns: Columns by the part of a post, for columns of other names; None in place of a name
            leaves the part out.
        tag_names: Tags in the order of their ids, for a column of ids.
        strict: Whether a malformed row is an error. Otherwise it is skipped.
        max_missing: Largest share of the pictures that may be missing or unreadable.
        entity_types: Entity types in the order of their tag ids; None takes those of the training
            split, sorted.
        relation_labels: Relation labels in the order of their ids; None takes those of the training
            split, sorted.
        follow_links: Whether links may lead to pictures outside the folder, as in the caches of the
            hub, DVC and git-annex. Only for data of one's own: a link can show any file.

    Raises:
        CorpusError: A frame is none, there is no split, or two frames are of one split.
    """

    def __init__(
        self,
        frames: Any,
        root: str | Path = ".",
        name: str = "frame",
        columns: Mapping[str, str | None] | None = None,
        tag_names: Sequence[str] | None = None,
        strict: bool = True,
        max_missing: float = 0.05,
        entity_types: list[str] | None = None,
        relation_labels: list[str] | None = None,
        follow_links: bool = False,
    ) -> None:
        super().__init__(
            root,
            columns,
            tag_names,
            strict,
            max_missing,
            entity_types,
            relation_labels,
            follow_links,
        )
        self._name = name
        by_name = dict(frames) if isinstance(frames, Mapping) else _by_split(frames)
        for key, frame in by_name.items():
            if not hasattr(frame, "columns") or not hasattr(frame, "index"):
                raise CorpusError(
                    f"{name}: expected a pandas frame for '{key}', found {type(frame).__name__}; "
                    "DatasetCorpus reads Parquet, Arrow and data sets of the hub"
                )
        names = find_splits(by_name, None, name)
        self._frames = {split: by_name[key] for split, key in names.items()}

    @property
    def name(self) -> str:
        """Name that was given."""
        return self._name

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits that have a frame."""
        return tuple(self._frames)

    def place(self, split: Split) -> str:
        """Return the name of the corpus and the split.

        Raises:
            CorpusError: The split has no frame.
        """
        if split not in self._frames:
            raise CorpusError(
                f"{self.name}: expected a frame for the {split} split, "
                f"found {', '.join(self._frames)}"
            )
        return f"{self.name} {split}"

    def _column_names(self, split: Split) -> Sequence[str]:
        return list(map(str, self._frames[split].columns))

    def _rows(self, split: Split, columns: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        frame = self._frames[split]
        cells = [frame[column] for column in columns]
        for name, *row in zip(frame.index, *cells, strict=True):
            yield str(name), row


def _by_split(frame: Any) -> dict[str, Any]:
    """Divide a frame by its column ``split``.

    Without that column, or for what is no frame, all is the training split.
    """
    if _SPLIT_COLUMN not in getattr(frame, "columns", ()):
        return {"train": frame}
    names = dict.fromkeys(frame[_SPLIT_COLUMN])
    without = frame.drop(columns=_SPLIT_COLUMN)
    return {str(name): without[frame[_SPLIT_COLUMN] == name] for name in names}
