"""Tables of posts: CSV, TSV, and the delimiters that spreadsheets write."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmie.data.parsing import MalformedLine, Record
from mmie.data.post_json import parse_post
from mmie.data.sources.delimited import DelimitedRow
from mmie.data.sources.first_row import DELIMITERS, open_table
from mmie.data.sources.items import BadPost, SourceError, warn_of_ignored
from mmie.data.text_files import undecodable
from mmie.data.values import parse_json_cell
from mmie.types import Post
from mmie.utils.text import MAX_SHOWN

_COLUMNS = {
    "id": "id",
    "text": "text",
    "path": "image",
    "image": "image",
    "images": "images",
    "context": "context",
}
"""Keys of a post by the columns of a table. An ``image`` takes precedence over a ``path``."""


def read_table(
    lines: Iterable[str], path: Path, root: Path, delimiter: str | None
) -> Iterator[Post | BadPost]:
    """Yield a post for every row.

    Args:
        lines: Lines of the table with their ends.
        path: Its file.
        root: Folder that pictures' paths are relative to.
        delimiter: Delimiter of the fields; None takes that of the suffix, or another one with which
            the first row has the column ``text``.

    Raises:
        SourceError: The first row has no column ``text``, or a column twice.
    """
    table = open_table(lines, path, delimiter)
    own = delimiter or DELIMITERS.get(path.suffix.lower(), ",")
    _check_columns(path, table.header, table.columns, own)
    ignored = set(table.columns).difference(_COLUMNS)
    if ignored:
        warn_of_ignored(f"{path}: unknown columns are kept, not read", ignored)
    for row in table.rows:
        yield _parse_row(row, table.columns, root)


def _check_columns(path: Path, header: str, columns: Sequence[str], delimiter: str) -> None:
    """Raise if a table has no column of texts, or a column twice.

    Args:
        path: File of the table.
        header: Its first row.
        columns: Columns of the first row.
        delimiter: Delimiter that was set, or that of the suffix.

    Raises:
        SourceError: The first row is no Unicode, has no column ``text``, or a column twice.
    """
    bad = undecodable(header)
    if bad is not None:
        raise SourceError(f"{path}: expected UTF-8 text, found {bad}")
    if "text" not in columns:
        names = ", ".join(map(ascii, columns))[:MAX_SHOWN] or "none"
        raise SourceError(
            f"{path}: expected a column 'text' in the first row, found {names}; another delimiter "
            f"than {delimiter!r} is set by --delimiter"
        )
    for column in _COLUMNS:
        count = columns.count(column)
        if count > 1:
            raise SourceError(
                f"{path}: expected one column '{column}' in the first row, found {count}"
            )


def _parse_row(row: DelimitedRow, columns: list[str], root: Path) -> Post | BadPost:
    """Parse a row of a table.

    Args:
        row: The row.
        columns: Columns of the table.
        root: Folder that pictures' paths are relative to.
    """
    place = str(row.number)
    bad = undecodable(row.text)
    if bad is not None:
        return BadPost(place, f"expected UTF-8 text, found {bad}", "encoding")
    if row.expected:
        return BadPost(place, f"expected {row.expected}", "row")
    cells = dict(zip(columns, row.fields, strict=False))
    record: Record = {"text": ""}
    for column, key in _COLUMNS.items():
        value = cells.get(column)
        if value:
            record[key] = value
    further: dict[str, Any] = {key: cells[key] for key in cells if key not in _COLUMNS}
    if cells.get("path") and cells.get("image"):
        further["path"] = cells["path"]
    try:
        if "images" in record:
            expected = "'images' to be a JSON list of paths"
            record["images"] = parse_json_cell(cells["images"], expected)
        return replace(parse_post(json.dumps(record), root, name=place), extra=further)
    except MalformedLine as error:
        return BadPost.of(place, error, str(record.get("id", "")))
