"""First row of a table, with its delimiter, for all programs that read tables."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mmie.data.sources.delimited import (
    FIELD_DELIMITERS,
    TAB,
    DelimitedText,
    parse_line,
    split_returns,
)

DELIMITERS = {".csv": ",", ".tsv": TAB}
"""Delimiter of a table by its suffix, which is tried first."""
_SEPARATOR = "sep="
"""Start of the line in which spreadsheets name the delimiter."""


class OpenTable(NamedTuple):
    """Table whose first row has been read.

    Attributes:
        number: Number of the line of the first row, from 1.
        header: That line.
        delimiter: Delimiter of its fields.
        columns: Its fields, without blanks at their ends; empty if it cannot be read.
        rows: Rows after it.
    """

    number: int
    header: str
    delimiter: str
    columns: list[str]
    rows: DelimitedText


def open_table(
    lines: Iterable[str], path: Path, delimiter: str | None = None, keep_blank: bool = False
) -> OpenTable:
    """Read the first row of a table.

    Without a given delimiter, that of a line ``sep=;`` is taken, which is skipped. Otherwise it is
    the first with which the first row has a column ``text``, or else the most frequent one; the
    delimiter of the suffix takes precedence.

    Args:
        lines: Lines of the table with their ends.
        path: Its file.
        delimiter: Delimiter of the fields; None finds it.
        keep_blank: Whether a blank line is a row without fields.
    """
    lines = split_returns(lines)
    number, header = 1, next(lines, "")
    named = header.strip("\r\n")
    if named[:4].lower() == _SEPARATOR and len(named) == len(_SEPARATOR) + 1:
        delimiter = delimiter or named[-1]
        number, header = 2, next(lines, "")
    chosen, columns, is_quoted = _find_columns(header, path, delimiter)
    rows = DelimitedText(lines, chosen, number + 1, len(columns), is_quoted, keep_blank)
    return OpenTable(number, header, chosen, columns, rows)


def _find_columns(header: str, path: Path, delimiter: str | None) -> tuple[str, list[str], bool]:
    """Return the delimiter and the columns of a first row, and whether some are quoted."""
    own = DELIMITERS.get(path.suffix.lower(), ",")
    candidates = (delimiter,) if delimiter else (own, *FIELD_DELIMITERS)
    parsed = {candidate: _parse_names(header, candidate) for candidate in candidates}
    for candidate, (names, is_quoted) in parsed.items():
        if "text" in names:
            return candidate, names, is_quoted
    chosen = max(candidates, key=header.count)
    return (chosen, *parsed[chosen])


def _parse_names(header: str, delimiter: str) -> tuple[list[str], bool]:
    """Return the names of columns, and whether some are quoted.

    Names are empty if the quotes are wrong. In tab-separated text such quotes are text.
    """
    if not header.strip():
        return [], False
    fields, _ = parse_line(header, delimiter)
    is_quoted = fields is not None and '"' in header
    if fields is None:
        fields = header.rstrip("\r\n").split(delimiter) if delimiter == TAB else []
    return [field.strip() for field in fields], is_quoted
