"""Posts in pandas frames, which pandas alone needs to know."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmie.inference.formats.text import to_json
from mmie.inference.reading import PostError
from mmie.types import Extraction, Post


def is_frame(posts: object) -> bool:
    """Whether posts come in a pandas frame."""
    return hasattr(posts, "columns")


def read_frame(frame: Any, text: str, image: str | None) -> Iterator[Post[Any]]:
    """The posts of a frame, one a row, named by the index.

    Raises:
        PostError: There is no such column.
    """
    for column in (text, image):
        if column is not None and column not in frame.columns:
            raise PostError(
                f"the frame has no column '{column}': it has {', '.join(map(str, frame.columns))}"
            )
    pictures = [None] * len(frame) if image is None else frame[image]
    for name, words, picture in zip(frame.index, frame[text], pictures, strict=True):
        yield Post(id=str(name), text=_absent_to_none(words) or "", image=_absent_to_none(picture))


def with_columns(frame: Any, extractions: Sequence[Extraction]) -> Any:
    """A copy of the frame with what was found in each row."""
    lines = [to_json(extraction) for extraction in extractions]
    return frame.assign(
        entities=[line["entities"] for line in lines],
        relations=[line["relations"] for line in lines],
        problems=[line.get("problems", []) for line in lines],
    )


def _absent_to_none(value: Any) -> Any:
    """None for pandas' missing values: None, NaN, NA and NaT."""
    is_number = isinstance(value, float)
    return (
        None
        if value is None or (is_number and value != value) or type(value).__name__ == "NAType"
        else value
    )
