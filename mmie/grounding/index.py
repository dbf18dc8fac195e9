"""Index of crops: the picture, the phrase and the detector of each crop.

A line of JSON for each post::

    {"id": "7", "image": "../images/7.jpg", "phrases": ["red car"],
     "crops": [{"file": "1f3a-10-20-90-80.jpg", "box": [10, 20, 90, 80], "phrase": "red car",
                "score": 0.41, "detector": "owlv2"}]}

``image`` is relative to the index, crop files to the folder of the crops. An index converts to the
published form, a dictionary of crop files that ``torch.save`` writes, and back; what the published
form does not hold is lost.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch

from mmie.data.corpora.crop_index import load_crop_index
from mmie.data.parsing import read_lines
from mmie.grounding.detection import Box
from mmie.grounding.errors import GroundingError, write_errors
from mmie.utils.files import atomic_write, atomic_write_text
from mmie.utils.text import is_utf8

IndexKey = Literal["image", "id"]
"""Key of the published form: name of the image file (Twitter), or the post's line number (MNRE).

The line number is the post's id.
"""


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop and its origin.

    Attributes:
        file: Name of the crop file, in the folder of the crops.
        box: Box in the picture; None in a published index.
        phrase: The phrase or the category that was found.
        score: Confidence of the detector; None in a published index.
        detector: Name of the detector; "" in a published index.
    """

    file: str
    box: Box | None = None
    phrase: str = ""
    score: float | None = None
    detector: str = ""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """The crops of one post, best first.

    Attributes:
        id: The post's id; "" in a published index with the key ``image``.
        image: Path of the picture relative to the index, with forward slashes; "" in a published
            index with the key ``id``.
        phrases: The phrases that were looked for.
        crops: The crops.
    """

    id: str = ""
    image: str = ""
    phrases: tuple[str, ...] = ()
    crops: tuple[Crop, ...] = ()


def write_index(file: Path, entries: Iterable[IndexEntry]) -> None:
    """Write an index atomically.

    Raises:
        GroundingError: The file cannot be written.
    """
    lines = [json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries]
    with write_errors(file):
        atomic_write_text(file, "".join(lines))


def read_index(file: Path) -> list[IndexEntry]:
    """Read the entries of an index.

    Raises:
        GroundingError: The file cannot be read, or a line is not an entry.
    """
    try:
        lines = read_lines(file)
    except OSError as error:
        raise GroundingError(
            f"{file}: expected an index of crops, found no file that can be read"
        ) from error
    entries = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            entries.append(_parse_entry(file, number, line))
    return entries


def to_pth(entries: Iterable[IndexEntry], file: Path, key: IndexKey) -> None:
    """Write the published form of an index: a dictionary of lists of crop files.

    The crops of posts with the same image are merged in turn, without repetitions. Line numbers are
    integers, as published. Entries without crops are left out.

    Raises:
        GroundingError: An entry has no value for the key, or the file cannot be written.
    """
    lists: dict[str | int, list[Sequence[Crop]]] = {}
    for entry in entries:
        lists.setdefault(_published_key(entry, key), []).append(entry.crops)
    published: dict[str | int, list[str]] = {}
    for name, crop_lists in lists.items():
        files = _merge(crop_lists)
        if files:
            published[name] = files
    with write_errors(file):
        atomic_write(file, partial(torch.save, published))


def from_pth(file: Path, key: IndexKey) -> list[IndexEntry]:
    """Read a published index as entries, with ``weights_only=True``.

    Raises:
        CorpusError: The file holds anything but a dictionary with lists of crop files.
        GroundingError: The file does not exist.
    """
    if not file.is_file():
        raise GroundingError(f"{file}: expected a published index of crops, found no such file")
    entries = []
    for name, files in load_crop_index([file]).items():
        crops = tuple(map(Crop, files))
        if key == "id":
            entries.append(IndexEntry(id=name, crops=crops))
        else:
            entries.append(IndexEntry(image=name, crops=crops))
    return entries


def _published_key(entry: IndexEntry, key: IndexKey) -> str | int:
    """Return the key of an entry in the published form.

    Raises:
        GroundingError: The entry has no value for the key.
    """
    name = PurePosixPath(entry.image).name if key == "image" else entry.id
    if not name:
        raise GroundingError(
            f"an entry of the index has no {key}: the index was keyed by the other one"
        )
    return int(name) if key == "id" and name.isdecimal() else name


def _merge(crop_lists: Sequence[Sequence[Crop]]) -> list[str]:
    """Merge crop lists in turn: the first file of each, the second of each, and so on."""
    files: dict[str, None] = {}
    for turn in zip_longest(*crop_lists):
        for crop in turn:
            if crop is not None:
                files[crop.file] = None
    return list(files)


def _parse_entry(file: Path, number: int, line: str) -> IndexEntry:
    """Parse a line of an index.

    Raises:
        GroundingError: The line is not an entry.
    """
    try:
        record: dict[str, Any] = json.loads(line)
        crops = tuple(_parse_crop(**crop) for crop in record.get("crops", []))
        phrases = tuple(map(_check_text, record.get("phrases", [])))
        return IndexEntry(_check_text(record["id"]), _check_text(record["image"]), phrases, crops)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise GroundingError(
            f"{file}:{number}: expected an entry of an index of crops, found {line[:80]!r}"
        ) from error


def _parse_crop(
    file: str,
    box: list[int] | None = None,
    phrase: str = "",
    score: float | None = None,
    detector: str = "",
) -> Crop:
    """Convert the values of a JSON record to a crop.

    Raises:
        TypeError: A value has another type.
        ValueError: A value has another form.
    """
    if score is not None and type(score) not in (int, float):
        raise TypeError("a score is a number")
    parsed_box = None if box is None else _parse_box(box)
    return Crop(_check_text(file), parsed_box, _check_text(phrase), score, _check_text(detector))


def _parse_box(values: list[int]) -> Box:
    """Convert a JSON value to a box.

    Raises:
        TypeError: An edge is not an integer.
        ValueError: The number of edges is not four.
    """
    left, top, right, bottom = values
    for edge in values:
        if type(edge) is not int:
            raise TypeError("a box is four integers")
    return left, top, right, bottom


def _check_text(value: object) -> str:
    """Return a value that is a string which UTF-8 can hold.

    Raises:
        TypeError: The value is not a string.
        ValueError: The string holds a lone surrogate.
    """
    if not isinstance(value, str):
        raise TypeError("expected a string")
    if not is_utf8(value):
        raise ValueError("expected text without lone surrogates")
    return value
