"""Checks and conversions that the readers of corpora and of one's own posts share."""

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PosixPath
from typing import Any, TypeGuard, TypeVar

from mmie.data.picture_names import decode_data_uri, from_foreign_path, is_data_uri
from mmie.data.text_files import read_text_lines, undecodable
from mmie.types import Entity, Post
from mmie.utils.text import is_utf8, safe_repr, truncate

_T = TypeVar("_T")
_COPY = "copy it there, or name its folder by --pictures"
_FOLLOW = "--follow_links, or follow_links of a corpus, admits links in data of your own"
Record = dict[str, object]
"""A JSON object."""


class MalformedLine(ValueError):
    """Line that does not follow its layout.

    Args:
        expected: What the layout requires.
        found: What the line holds. Long values are shortened.
        line: 1-based number of the line, if it is not the first line of its record.
        kind: Kind of the fault, by which faults are counted: ``encoding``, ``file``, ``format``,
            ``json``, ``picture`` or ``row``.
    """

    def __init__(
        self, expected: str, found: str, line: int | None = None, kind: str = "format"
    ) -> None:
        super().__init__(f"expected {expected}, found {truncate(found)}")
        self.line = line
        self.kind = kind


class LinkedFolder(PosixPath):
    """Folder whose pictures may be links to files elsewhere.

    The caches of the hub, DVC and git-annex keep data in this way. It is for the owner of the data:
    a link of a stranger could show any file of the machine.
    """


def read_lines(file: Path) -> list[str]:
    r"""Read the lines of a text file without byte-order mark and line ends.

    UTF-16 and UTF-32 are told from UTF-8 by their byte-order marks. Only ``\n`` and ``\r\n`` end a
    line. Real posts hold other characters at which `str.splitlines` would break a word. Bytes that
    cannot be decoded become surrogates, which `check_utf8` rejects with the number of their line.

    Raises:
        OSError: The file cannot be read.
    """
    with file.open("rb") as stream:
        lines = list(read_text_lines(stream))
    if not lines[-1].endswith("\n"):
        return [line.removesuffix("\n").removesuffix("\r") for line in lines]
    return [*(line.removesuffix("\n").removesuffix("\r") for line in lines), ""]


def check_utf8(lines: Iterable[str], first_number: int) -> None:
    """Raise if the bytes of a line were not UTF-8.

    Args:
        lines: Lines that `read_lines` returned.
        first_number: Number of the first one.

    Raises:
        MalformedLine: A line holds a surrogate.
    """
    for number, line in enumerate(lines, start=first_number):
        bad = undecodable(line)
        if bad is not None:
            raise MalformedLine("UTF-8 text", bad, number, "encoding")


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

    A ``file:`` URI and a relative path of Windows are converted to paths. The picture in a
    ``data:`` URI is written to a file, see `mmie.data.embedded`.

    Args:
        folder: The folder. In a `LinkedFolder`, links may lead out of it.
        name: Path of the picture, relative to the folder.

    Raises:
        MalformedLine: ``name`` is not a file name, or leads out of ``folder`` by ``..``, a root or
            a link.
    """
    if not _is_name(name) or "\0" in name:
        raise MalformedLine("the name of a picture file", safe_repr(name), kind="picture")
    if is_data_uri(name):
        return _kept_picture(name)
    path = Path(folder) / from_foreign_path(name, folder)
    if lies_inside(path, folder):
        return path
    expected, verb = f"a picture inside its folder ({_COPY})", "which leads"
    if _is_loop(path):
        raise MalformedLine("a picture", f"{name!r}, a link that leads to itself", kind="picture")
    if _lies_inside_by_name(path, folder):
        expected, verb = f"a picture inside its folder ({_FOLLOW})", "a link that leads"
    raise MalformedLine(expected, f"{name!r}, {verb} out of {folder}", kind="picture")


def lies_inside(path: Path, folder: Path) -> bool:
    """Tell whether a path, which need not exist, leads to a place below a folder.

    Args:
        path: The path. ``..`` and links are followed.
        folder: The folder. In a `LinkedFolder`, links may lead out of it.
    """
    if isinstance(folder, LinkedFolder):
        return _lies_inside_by_name(path, folder)
    try:
        return bool(path.resolve().relative_to(folder.resolve()).parts)
    except (ValueError, OSError, RuntimeError):
        # another folder, a path that is too long, or a loop of links
        return False


def _kept_picture(uri: str) -> Path:
    """Return the file of the picture in a ``data:`` URI.

    Raises:
        MalformedLine: The URI is damaged.
    """
    from mmie.data.embedded import keep_picture  # imports torch, which few corpora need here

    try:
        return keep_picture(decode_data_uri(uri))
    except ValueError as error:
        raise MalformedLine("a picture in a data: URI", str(error), kind="picture") from None


def _is_loop(path: Path) -> bool:
    """Tell whether a path is a link that leads to itself, directly or by other links."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    except ValueError:
        return False
    return False


def _lies_inside_by_name(path: Path, folder: Path) -> bool:
    """Tell whether a path lies below a folder if no link is followed."""
    try:
        return bool(Path(os.path.abspath(path)).relative_to(os.path.abspath(folder)).parts)
    except (ValueError, OSError):
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
