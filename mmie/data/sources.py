"""Sources of one's own posts: JSON lines, CSV, TSV, a folder or standard input, read one by one.

============================  ======================================================================
source                        a post is
============================  ======================================================================
``posts.jsonl``, ``-``        a line as `mmie.data.post_json` describes it; without an ``id`` its id
                              is the line's number
``posts.csv``, ``posts.tsv``  a row with the column ``text`` and, if present, ``id``, ``image`` (or
                              ``path``), ``images`` (a JSON list of paths), ``context``
a folder                      ``<id>.txt``, the picture ``<id>.jpg``, ``.jpeg``, ``.png``, ``.gif``,
                              ``.webp``, or both
============================  ======================================================================

Paths of pictures are relative to the folder of the file, or to a folder that is given, and may not
lead out of it. Keys and columns that are not read are kept (`Post.extra`). They cause one warning,
since a picture under another name would otherwise be missed silently.
"""

import csv
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from mmie.data.parsing import MalformedLine, Record, picture_path
from mmie.data.post_json import parse_post
from mmie.types import MmieError, Post
from mmie.utils.text import MAX_SHOWN, safe_repr

STANDARD_INPUT = "-"
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp")
_TEXT_SUFFIX = ".txt"
_COLUMNS = {
    "id": "id",
    "text": "text",
    "path": "image",
    "image": "image",
    "images": "images",
    "context": "context",
}
"""Keys of a post by the columns of a table. An ``image`` takes precedence over a ``path``."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_MAX_FIELD = 2**24
"""Most characters of a field of a table."""
_BLOCK = 2**20
"""Bytes that are read at a time to count lines."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SourceError(MmieError, ValueError):
    """Source that cannot be read at all."""


@dataclass(frozen=True, slots=True)
class BadPost:
    """Post that cannot be read.

    Attributes:
        place: Number of its line or row from 1, or the name of its file.
        reason: What was expected, and what was found.
    """

    place: str
    reason: str


def read_source(source: str, pictures: Path | None = None) -> Iterator[Post | BadPost]:
    """Return an iterator over the posts of a source in their order, each read on demand.

    Args:
        source: A file, a folder, or ``-``.
        pictures: Folder that pictures' paths are relative to; None takes that of the file, or the
            working directory for standard input.

    Raises:
        SourceError: The source does not exist or is of another kind.
    """
    if source == STANDARD_INPUT:
        return _read_json(None, pictures or Path.cwd())
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
    suffix = path.suffix.lower()
    if suffix in _DELIMITERS:
        return _read_table(path, _DELIMITERS[suffix], root)
    if suffix in _JSON_LINES:
        return _read_json(path, root)
    raise SourceError(f"{source}: expected a folder, or a file named .jsonl, .csv or .tsv")


def count_posts(source: str) -> int | None:
    """Estimate the number of posts of a source, for a progress bar.

    Returns:
        The number of lines or files; None for standard input.
    """
    if source == STANDARD_INPUT:
        return None
    path = Path(source)
    if path.is_dir():
        return len(_stems(path))
    lines = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            lines += block.count(b"\n")
    if path.suffix.lower() in _DELIMITERS:
        lines -= 1  # the row of columns
    return max(lines, 1)


def _read_json(path: Path | None, root: Path) -> Iterator[Post | BadPost]:
    """Yield a post for every line that is not blank.

    Args:
        path: File of JSON lines; None is standard input.
        root: Folder that pictures' paths are relative to.
    """
    ignored: set[str] | None = set()
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            yield parse_post(line.decode(), root, str(number), ignored)
        except UnicodeDecodeError as error:
            yield BadPost(str(number), _decoding_problem(error))
        except MalformedLine as error:
            yield BadPost(str(number), str(error))
        if ignored:
            _warn_of_ignored(f"line {number}: unknown keys are kept, not read", ignored)
            ignored = None  # one warning is enough


def _lines(path: Path | None) -> Iterator[bytes]:
    """Yield the lines of a file, or of standard input if it is None.

    They have no ends, and no byte order mark in front.
    """
    with nullcontext(sys.stdin.buffer) if path is None else path.open("rb") as stream:
        for index, line in enumerate(stream):
            if index == 0:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            yield line.rstrip(b"\r\n")


def _read_table(path: Path, delimiter: str, root: Path) -> Iterator[Post | BadPost]:
    """Yield a post for every row.

    Raises:
        SourceError: The first row has no column ``text``, or a column twice.
    """
    csv.field_size_limit(_MAX_FIELD)
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
            yield _parse_row(row, number, root)


def _check_columns(path: Path, rows: "csv.DictReader[str]") -> None:
    """Check that the first row of a table names the columns, and warn of others.

    Raises:
        SourceError: The first row has no column ``text``, or a column twice.
    """
    try:
        columns = list(rows.fieldnames or ())
    except csv.Error as error:
        raise SourceError(f"{path}: expected a row of columns, found {error}") from None
    if "text" not in columns:
        names = ", ".join(map(ascii, columns))[:MAX_SHOWN] or "none"
        raise SourceError(f"{path}: expected a column 'text' in the first row, found {names}")
    for column in _COLUMNS:
        count = columns.count(column)
        if count > 1:
            raise SourceError(
                f"{path}: expected one column '{column}' in the first row, found {count}"
            )
    ignored = set(columns).difference(_COLUMNS)
    if ignored:
        _warn_of_ignored(f"{path}: unknown columns are kept, not read", ignored)


def _row_problem(error: csv.Error) -> str:
    """Describe what is wrong with a row."""
    if str(error) != "unexpected end of data":
        return f"expected a row, found {error}"
    return (
        "expected a quote that closes the field, found the end of the file: the rows from here on "
        "are lost in it"
    )


def _parse_row(row: Mapping[str | None, str | None], number: int, root: Path) -> Post | BadPost:
    """Parse a row of a table.

    Args:
        row: Fields by column.
        number: Number of the row.
        root: Folder that pictures' paths are relative to.
    """
    if None in row:
        reason = f"expected {len(row) - 1} fields, found more: quote what holds the delimiter"
        return BadPost(str(number), reason)
    record: Record = {"text": ""}
    for column, key in _COLUMNS.items():
        value = row.get(column)
        if value:
            record[key] = value
    further = {str(column): row[column] for column in row if column not in _COLUMNS}
    if row.get("path") and row.get("image"):
        further["path"] = row["path"]
    try:
        if "images" in record:
            record["images"] = _parse_paths(row["images"] or "")
        post = parse_post(json.dumps(record), root, name=str(number))
        return replace(post, extra=further)
    except MalformedLine as error:
        return BadPost(str(number), str(error))


def _parse_paths(cell: str) -> object:
    """Parse the JSON of the cell of several pictures.

    Raises:
        MalformedLine: The cell is no JSON.
    """
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise MalformedLine("'images' to be a JSON list of paths", safe_repr(cell)) from None


def _read_folder(folder: Path) -> Iterator[Post | BadPost]:
    """Yield a post for every text file, with its picture, and for every picture without a text.

    The order is that of the names.
    """
    for stem in sorted(_stems(folder)):
        file = folder / f"{stem}{_TEXT_SUFFIX}"
        picture = _find_picture(folder, stem)
        try:
            record = {"text": _read_text(folder, file), "image": picture}
            yield parse_post(json.dumps(record), folder, name=stem)
        except UnicodeDecodeError as error:
            yield BadPost(file.name, _decoding_problem(error))
        except (OSError, MalformedLine) as error:
            name = file.name if os.path.lexists(file) else str(picture)
            yield BadPost(name, str(error))


def _find_picture(folder: Path, stem: str) -> str | None:
    """Return the name of a post's picture, or None."""
    for suffix in PICTURE_SUFFIXES:
        if os.path.lexists(folder / f"{stem}{suffix}"):
            return f"{stem}{suffix}"
    return None


def _stems(folder: Path) -> set[str]:
    """Return the names of the posts of a folder."""
    suffixes = (_TEXT_SUFFIX, *PICTURE_SUFFIXES)
    return {path.stem for path in folder.iterdir() if path.suffix in suffixes}


def _read_text(folder: Path, file: Path) -> str:
    """Read a text file of the folder, or return "" if it does not exist.

    Raises:
        MalformedLine: The path is not a file, or is a link that leads out of the folder.
        OSError: The file cannot be read.
        UnicodeDecodeError: The file is not UTF-8.
    """
    if not os.path.lexists(file):
        return ""
    if not picture_path(folder, file.name).is_file():
        raise MalformedLine("a file", "a folder, a pipe or a link to nothing")
    return file.read_bytes().decode("utf-8-sig").strip()


def _decoding_problem(error: UnicodeDecodeError) -> str:
    """Describe bytes that are not UTF-8."""
    return f"expected UTF-8, found {error.reason} at byte {error.start}"


def _warn_of_ignored(title: str, names: Iterable[str]) -> None:
    """Warn of names that are not read."""
    listed = ", ".join(sorted(map(repr, names)))[:MAX_SHOWN]
    warnings.warn(f"{title}: {listed}", stacklevel=3)
