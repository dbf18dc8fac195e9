"""Checks and conversions that the readers of corpora and of one's own posts share."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from mmie.types import Entity, Post
from mmie.utils.text import is_utf8, safe_repr, truncate

_T = TypeVar("_T")
Record = dict[str, object]
"""A JSON object."""


class MalformedLine(ValueError):
    """Line that does not follow its layout.

    Args:
        expected: What the layout requires.
        found: What the line holds. Long values are shortened.
        line: 1-based number of the line, if it is not the first line of its record.
    """

    def __init__(self, expected: str, found: str, line: int | None = None) -> None:
        super().__init__(f"expected {expected}, found {truncate(found)}")
        self.line = line


def read_lines(file: Path) -> list[str]:
    r"""Read the lines of a UTF-8 file without byte order mark and line ends.

    Only ``\n`` and ``\r\n`` end a line. Real posts hold other characters at which `str.splitlines`
    would break a word. Bytes that are not UTF-8 become surrogates, which `check_utf8` rejects with
    the number of their line.

    Raises:
        OSError: The file cannot be read.
    """
    text = file.read_bytes().decode("utf-8", errors="surrogateescape").removeprefix("\ufeff")
    return [line.removesuffix("\r") for line in text.split("\n")]


def check_utf8(lines: Iterable[str], first_number: int) -> None:
    """Raise if the bytes of a line were not UTF-8.

    Args:
        lines: Lines that `read_lines` returned.
        first_number: Number of the first one.

    Raises:
        MalformedLine: A line holds a surrogate.
    """
    for number, line in enumerate(lines, start=first_number):
        if not is_utf8(line):
            raise MalformedLine("UTF-8 text", ascii(line), number)


def check_words(words: object) -> tuple[str, ...]:
    """Return words as a tuple of strings.

    Raises:
        MalformedLine: ``words`` is not a list or is empty, or a word is not a string, is empty, or
            cannot be written as UTF-8.
    """
    if not isinstance(words, list) or not words:
        raise MalformedLine("a list of at least one word", safe_repr(words))
    for index, word in enumerate(words):
        if not _is_name(word):
            raise MalformedLine("words that are not empty", f"{safe_repr(word)} as word {index}")
    return tuple(words)


def check_name(name: object, description: str) -> str:
    """Return an id, a type or a label as a string.

    Args:
        name: The value.
        description: What the layout requires, for the error.

    Raises:
        MalformedLine: ``name`` is not a string, is empty, or cannot be written as UTF-8.
    """
    if not _is_name(name):
        raise MalformedLine(description, safe_repr(name))
    return name


def check_span(start: object, end: object, length: int, description: str) -> tuple[int, int]:
    """Return the start and end of a span as integers.

    Args:
        start: First position.
        end: Last position, exclusive.
        length: Number of positions.
        description: What the span is, for the error.

    Raises:
        MalformedLine: ``start`` and ``end`` are not integers with ``0 <= start < end <= length``.
    """
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
        raise MalformedLine(
            f"{description} with 0 <= start < end <= {length}",
            f"start {safe_repr(start)}, end {safe_repr(end)}",
        )
    return start, end


def check_disjoint(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """Return entities in the order of their start.

    Raises:
        MalformedLine: Two entities share a word.
    """
    ordered = tuple(sorted(entities))
    for left, right in pairwise(ordered):
        if right.start < left.end:
            raise MalformedLine("entities that share no word", f"{left} and {right}")
    return ordered


def unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object from its keys and values.

    This is an ``object_pairs_hook`` for `json.loads`, which on its own would silently keep the last
    value of a repeated key.

    Raises:
        MalformedLine: A key occurs twice.
    """
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise MalformedLine("each key once", f"{key!r} twice")
        record[key] = value
    return record


def optional_value(record: Record, key: str, kind: type[_T], description: str) -> _T | None:
    """Return the value of a key that may be absent or null.

    Args:
        record: A JSON object.
        key: The key.
        kind: Type of the value.
        description: What the layout requires, for the error.

    Raises:
        MalformedLine: The value is of another type.
    """
    value = record.get(key)
    if value is not None and not isinstance(value, kind):
        raise MalformedLine(f"{key!r} to be {description}", safe_repr(value))
    return value


def list_value(record: Record, key: str, kind: type[_T], description: str) -> list[_T]:
    """Return the list of a key that may be absent or null.

    Args:
        record: A JSON object.
        key: The key.
        kind: Type of the items.
        description: What the layout requires of them, for the error.

    Raises:
        MalformedLine: The value is not a list, or an item is of another type.
    """
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise MalformedLine(f"{key!r} to be a list of {description}", safe_repr(value))
    return value


def unique_ids(posts: Iterable[Post]) -> list[Post]:
    """Append ``#2``, ``#3``... to ids that an earlier post has."""
    taken: set[str] = set()
    unique: list[Post] = []
    for post in posts:
        name = post.id
        copy = 1
        while name in taken:
            copy += 1
            name = f"{post.id}#{copy}"
        taken.add(name)
        if name != post.id:
            post = replace(post, id=name)
        unique.append(post)
    return unique


def picture_path(folder: Path, name: object) -> Path:
    """Return the path of a picture in a folder, which need not exist.

    Args:
        folder: The folder.
        name: Path of the picture, relative to the folder.

    Raises:
        MalformedLine: ``name`` is not a file name, or leads out of ``folder`` by ``..``, a root or
            a link.
    """
    if not _is_name(name) or "\0" in name:
        raise MalformedLine("the name of a picture file", safe_repr(name))
    path = folder / name
    if not lies_inside(path, folder):
        raise MalformedLine("a picture inside its folder", f"{name!r}, which leads out of {folder}")
    return path


def lies_inside(path: Path, folder: Path) -> bool:
    """Tell whether a path, which need not exist, leads to a place below a folder.

    Args:
        path: The path. ``..`` and links are followed.
        folder: The folder.
    """
    try:
        return bool(path.resolve().relative_to(folder.resolve()).parts)
    except (ValueError, OSError, RuntimeError):
        # another folder, a path that is too long, or a loop of links
        return False


def existing_or_first(candidates: Sequence[Path]) -> Path:
    """Return the first path that exists, or the first of all if none does."""
    for path in candidates:
        if path.exists():
            return path
    return candidates[0]


def expand_user(path: str | Path) -> Path:
    """Replace ``~`` by the home folder, unless the user is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _is_name(value: object) -> TypeGuard[str]:
    """Tell whether a value is a string that is not empty and can be written as UTF-8."""
    return isinstance(value, str) and value != "" and is_utf8(value)
