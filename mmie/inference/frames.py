"""Posts in pandas frames, handled without importing pandas."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmie.data.values import is_missing
from mmie.inference.formats.text import to_json
from mmie.inference.reading import PostError
from mmie.types import Extraction, Post


def is_frame(posts: object) -> bool:
    """Tell whether posts come in a pandas frame."""
    return hasattr(posts, "columns")


def read_frame(frame: Any, text: str, image: str | None) -> Iterator[Post[Any]]:
    """Yield the posts of a frame, one for each row, with the row's index as id.

    Args:
        frame: The frame.
        text: Column of the texts; a missing value is an empty text.
        image: Column of the pictures, or of lists of them; a missing value, or None, is no picture.

    Raises:
        PostError: The frame lacks one of the columns.
    """
    for column in (text, image):
        if column is not None and column not in frame.columns:
            names = ", ".join(map(str, frame.columns))
            raise PostError(f"the frame has no column '{column}': it has {names}")
    pictures = [None] * len(frame) if image is None else frame[image]
    for name, words, picture in zip(frame.index, frame[text], pictures, strict=True):
        images = list(picture) if isinstance(picture, list | tuple) else [picture]
        yield Post(
            id=str(name),
            text="" if is_missing(words) else words or "",
            image=None if not images or is_missing(images[0]) else images[0],
            more_images=tuple(images[1:]),
        )


def with_columns(frame: Any, extractions: Sequence[Extraction]) -> Any:
    """Return a copy of the frame with the columns ``entities``, ``relations`` and ``problems``."""
    records = [to_json(extraction) for extraction in extractions]
    return frame.assign(
        entities=[record["entities"] for record in records],
        relations=[record["relations"] for record in records],
        problems=[record.get("problems", []) for record in records],
    )
