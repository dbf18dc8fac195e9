"""The index of crops: what was cut from which picture, why, and by which detector.

A line of JSON for each post::

    {"id": "7", "image": "../images/7.jpg", "phrases": ["red car"],
     "crops": [{"file": "1f3a-10-20-90-80.jpg", "box": [10, 20, 90, 80], "phrase": "red car", "score": 0.41,
                "detector": "owlv2"}]}

``image`` is relative to the index, crop files to the folder of the crops. The published indices, dictionaries of crop
files that ``torch.save`` wrote, convert to it, without what they do not say, and it converts to them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch

from mmie.data.corpora.crop_index import load_crop_index
from mmie.data.parsing import read_lines
from mmie.grounding.detection import Box, GroundingError
from mmie.grounding.files import atomic_write

IndexKey = Literal["image", "id"]
"""What the published index is keyed by: name of the image file (Twitter), or line number, the post's id (MNRE)."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop and where it comes from.

    Attributes:
        file: Its file, in the folder of the crops.
        box: Its place in the picture; None where the index is a published one.
        phrase: What was found there.
        score: How sure the detector was; None where the index is a published one.
        detector: Name of the detector; "" where the index is a published one.
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
        id: The post's id; "" where a published index does not say.
        image: The picture as seen from the index, with forward slashes; "" where a published index does not say.
        phrases: What was looked for.
        crops: What was cut out.
    """

    id: str = ""
    image: str = ""
    phrases: tuple[str, ...] = ()
    crops: tuple[Crop, ...] = ()


def write_index(file: Path, entries: Iterable[IndexEntry]) -> None:
    """Write an index, whole or not at all."""
    lines = "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
    atomic_write(file, lambda partial: partial.write_text(lines, encoding="utf-8"))


def read_index(file: Path) -> list[IndexEntry]:
    """The entries of an index.

    Raises:
        GroundingError: The file cannot be read, or a line is none of an index.
    """
    try:
        lines = read_lines(file)
    except OSError as error:
        raise GroundingError(
            f"{file}: expected an index of crops, found no file that can be read"
        ) from error
    return [
        _entry(file, number, line) for number, line in enumerate(lines, start=1) if line.strip()
    ]


def to_pth(entries: Iterable[IndexEntry], file: Path, key: IndexKey) -> None:
    """Write the published form of an index: a dictionary of lists of crop files.

    Posts that share an image share its crops, in turn and each once. Line numbers are integers, as published.

    Raises:
        GroundingError: An entry does not say what the dictionary is keyed by.
    """
    lists: dict[str | int, list[Sequence[Crop]]] = {}
    for entry in entries:
        lists.setdefault(_published_key(entry, key), []).append(entry.crops)
    merged = {name: _merge(crops) for name, crops in lists.items()}
    atomic_write(
        file,
        lambda partial: torch.save(
            {name: files for name, files in merged.items() if files}, partial
        ),
    )


def from_pth(file: Path, key: IndexKey) -> list[IndexEntry]:
    """The entries that a published index makes; it is loaded with ``weights_only=True``.

    Raises:
        CorpusError: The file holds anything but a dictionary with lists of crop files.
        GroundingError: There is no such file.
    """
    if not file.is_file():
        raise GroundingError(f"{file}: expected a published index of crops, found no such file")
    lists = load_crop_index([file])
    entries = [IndexEntry(id=name, crops=tuple(map(Crop, files))) for name, files in lists.items()]
    return entries if key == "id" else [replace(entry, id="", image=entry.id) for entry in entries]


def _published_key(entry: IndexEntry, key: IndexKey) -> str | int:
    """What an entry is found by."""
    name = PurePosixPath(entry.image).name if key == "image" else entry.id
    if not name:
        raise GroundingError(
            f"the index does not say the {key} of every entry: it was keyed by the other one"
        )
    return int(name) if key == "id" and name.isdecimal() else name


def _merge(lists: Sequence[Sequence[Crop]]) -> list[str]:
    """Crop files of several lists: the first of each, the second of each, and so on."""
    longest = max(map(len, lists))
    turns = [crops[place].file for place in range(longest) for crops in lists if place < len(crops)]
    return list(dict.fromkeys(turns))


def _entry(file: Path, number: int, line: str) -> IndexEntry:
    """The entry that a line spells."""
    try:
        record: dict[str, Any] = json.loads(line)
        crops = tuple(_crop(**crop) for crop in record.get("crops", []))
        phrases = tuple(map(_text, record.get("phrases", [])))
        return IndexEntry(_text(record["id"]), _text(record["image"]), phrases, crops)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise GroundingError(
            f"{file}:{number}: expected an entry of an index of crops, found {line[:80]!r}"
        ) from error


def _crop(
    file: str,
    box: list[int] | None = None,
    phrase: str = "",
    score: float | None = None,
    detector: str = "",
) -> Crop:
    """The crop that a record spells.

    Raises:
        TypeError: A file that is no name, a box that is none, or a score that is no number.
        ValueError: A name that cannot be written as UTF-8.
    """
    if not (box is None or (len(box) == 4 and all(type(edge) is int for edge in box))):
        raise TypeError("a box is four integers")
    if not (score is None or type(score) in (int, float)):
        raise TypeError("a score is a number")
    place = None if box is None else (box[0], box[1], box[2], box[3])
    return Crop(_text(file), place, _text(phrase), score, _text(detector))


def _text(value: object) -> str:
    """The value, which is a string that files can hold.

    Raises:
        TypeError: It is no string.
        ValueError: It cannot be written as UTF-8.
    """
    if not isinstance(value, str):
        raise TypeError("expected a string")
    value.encode()
    return value
