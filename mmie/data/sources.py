"""Where one's own posts come from: JSON lines, CSV, TSV, a folder, or standard input, read one by one.

============================  =========================================================================================
source                        a post is
============================  =========================================================================================
``posts.jsonl``, ``-``        a line as `mmie.data.corpora.jsonl` describes it; ``id`` may be absent: it is the line's number
``posts.csv``, ``posts.tsv``  a row with the columns ``text`` and, if they are there, ``id``, ``image`` (or ``path``),
                              ``context``
a folder                      ``<id>.txt``, the picture ``<id>.jpg``, ``.jpeg``, ``.png``, ``.gif``, ``.webp``, or both
============================  =========================================================================================

Paths of pictures are relative to the folder of the file, or to the folder that is given, and may not leave it. What is
not read of a line or row is warned of once: a picture under another name would be missed without a word.
"""

import csv
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mmie.data.corpora.base import MalformedLine, picture_path
from mmie.data.corpora.jsonl import parse_post
from mmie.types import MmieError, Post

STANDARD_INPUT = "-"
_TEXT_SUFFIX = ".txt"
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp")
_COLUMNS = {"id": "id", "text": "text", "path": "image", "image": "image", "context": "context"}
"""What the columns of a table are to a post; of a ``path`` and an ``image`` the latter counts."""
_WIDTH = 160
"""Characters of a row that an error shows."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson", ".json")


class SourceError(MmieError, ValueError):
    """A source that cannot be read at all."""


@dataclass(frozen=True, slots=True)
class BadPost:
    """A post that cannot be read.

    Attributes:
        place: Number of its line or row from 1, or the name of its file.
        reason: What was expected, and what was found.
    """

    place: str
    reason: str


def read_source(source: str, pictures: Path | None = None) -> Iterator[Post | BadPost]:
    """The posts of a source in their order, each read when it is asked for.

    Args:
        source: A file, a folder, or ``-``.
        pictures: Folder that pictures' paths are relative to; None takes that of the file, or the present one.

    Raises:
        SourceError: There is no such source, or it is of another kind.
    """
    if source == STANDARD_INPUT:
        return _read_json(_lines(sys.stdin.buffer), pictures or Path.cwd())
    path = Path(source)
    if path.is_dir():
        if not _stems(path):
            raise SourceError(
                f"{source}: expected <id>.txt or pictures, found none: name a file of posts"
            )
        return _read_folder(path)
    if not path.is_file():
        raise SourceError(f"{source}: expected a file or a folder of posts, found none")
    root = pictures or path.parent
    if path.suffix.lower() in _DELIMITERS:
        return _read_table(path, _DELIMITERS[path.suffix.lower()], root)
    if path.suffix.lower() in _JSON_LINES:
        return _read_json(_lines_of(path), root)
    raise SourceError(f"{source}: expected a folder, or a file named .jsonl, .csv or .tsv")


def count_posts(source: str) -> int | None:
    """About how many posts a source holds, for a progress bar; None of standard input."""
    path = Path(source)
    if source == STANDARD_INPUT:
        return None
    if path.is_dir():
        return len(_stems(path))
    with path.open("rb") as stream:
        lines = sum(block.count(b"\n") for block in iter(lambda: stream.read(2**20), b""))
    return max(lines - (path.suffix.lower() in _DELIMITERS), 1)


def _lines_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from _lines(stream)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines without their ends and, in front, without a byte order mark."""
    for number, line in enumerate(stream):
        yield (line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line).rstrip(b"\r\n")


def _read_json(lines: Iterable[bytes], root: Path) -> Iterator[Post | BadPost]:
    """A post of every line that is not blank."""
    ignored: set[str] | None = set()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield parse_post(line.decode(), root, str(number), ignored)
            except UnicodeDecodeError as error:
                yield BadPost(
                    str(number), f"expected UTF-8, found {error.reason} at byte {error.start}"
                )
            except MalformedLine as error:
                yield BadPost(str(number), str(error))
            if ignored:
                _warn_of(f"line {number}: unknown keys ignored", ignored)
                ignored = None  # told once


def _warn_of(what: str, names: Iterable[str]) -> None:
    """Say what is not read."""
    warnings.warn(f"{what}: {', '.join(sorted(map(repr, names)))[:_WIDTH]}", stacklevel=3)


def _read_table(path: Path, delimiter: str, root: Path) -> Iterator[Post | BadPost]:
    """A post of every row.

    Raises:
        SourceError: There is no column ``text``, or two of a name.
    """
    csv.field_size_limit(2**24)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        rows = csv.DictReader(stream, delimiter=delimiter, strict=True)
        _check_columns(path, rows)
        number = 1
        while True:
            number += 1
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadPost(str(number), _row_problem(error))
                continue
            yield _row_post(row, number, root)


def _check_columns(path: Path, rows: "csv.DictReader[str]") -> None:
    """Refuse a table whose first row does not name the columns."""
    try:
        columns = list(rows.fieldnames or ())
    except csv.Error as error:
        raise SourceError(f"{path}: expected a row of columns, found {error}") from None
    if "text" not in columns:
        found = ", ".join(map(ascii, columns))[:_WIDTH] or "none"
        raise SourceError(f"{path}: expected a column 'text' in the first row, found {found}")
    twice = [column for column in _COLUMNS if columns.count(column) > 1]
    if twice:
        raise SourceError(
            f"{path}: expected one column '{twice[0]}' in the first row, found {columns.count(twice[0])}"
        )
    if unread := set(columns) - _COLUMNS.keys():
        _warn_of(f"{path}: columns ignored", unread)


def _row_problem(error: csv.Error) -> str:
    """What is wrong with a row."""
    if str(error) == "unexpected end of data":
        return "expected a quote that closes the field, found the end of the file: the rows from here on are lost in it"
    return f"expected a row, found {error}"


def _row_post(row: Mapping[str | None, str | None], number: int, root: Path) -> Post | BadPost:
    """The post of a row of a table."""
    if None in row:
        return BadPost(
            str(number),
            f"expected {len(row) - 1} fields, found more: quote what holds the delimiter",
        )
    known = {name: value for column, name in _COLUMNS.items() if (value := row.get(column))}
    try:
        return parse_post(json.dumps({"text": "", **known}), root, name=str(number))
    except MalformedLine as error:
        return BadPost(str(number), str(error))


def _read_folder(folder: Path) -> Iterator[Post | BadPost]:
    """A post of every text file, with its picture, and of every picture without a text, by name."""
    for stem in sorted(_stems(folder)):
        file = folder / f"{stem}{_TEXT_SUFFIX}"
        try:
            picture = next(
                (
                    name
                    for s in PICTURE_SUFFIXES
                    if os.path.lexists(folder / (name := f"{stem}{s}"))
                ),
                None,
            )
            record = {"text": _read_text(folder, file), "image": picture}
            yield parse_post(json.dumps(record), folder, name=stem)
        except UnicodeDecodeError as error:
            yield BadPost(file.name, f"expected UTF-8, found {error.reason} at byte {error.start}")
        except (OSError, MalformedLine) as error:
            yield BadPost(file.name if os.path.lexists(file) else str(picture), str(error))


def _stems(folder: Path) -> set[str]:
    """Names of the posts of a folder."""
    suffixes = (_TEXT_SUFFIX, *PICTURE_SUFFIXES)
    return {path.stem for path in folder.iterdir() if path.suffix in suffixes}


def _read_text(folder: Path, file: Path) -> str:
    """The text of a file of the folder; "" if there is no such file.

    Raises:
        MalformedLine: It is something else, or a link that leads out of the folder.
    """
    if not os.path.lexists(file):
        return ""
    if not picture_path(folder, file.name).is_file():
        raise MalformedLine("a file", "a folder, a pipe or a link to nothing")
    return file.read_bytes().decode("utf-8-sig").strip()
