"""Cells of tables: rows, values in cells, and posts written as rows."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from mmie.data.parsing import MalformedLine, Record
from mmie.formats.base import Notes
from mmie.formats.texts import parse_json, parse_literal
from mmie.utils.text import is_formula, safe_repr

COLUMNS = ("id", "text", "words", "entities", "relations", "image", "images", "crops", "context")
"""Columns of a written table."""


class Row(NamedTuple):
    """Row of a table.

    Attributes:
        number: Number of its first line, from 1; of Excel's files, its own.
        cells: Its cells; empty if it cannot be read.
        fault: What was expected and what was found, if it cannot be read; else empty.
        kind: Kind of the fault: see `mmie.data.parsing.MalformedLine`.
    """

    number: int
    cells: list[str]
    fault: str = ""
    kind: str = "row"


def cell_of(row: Row, index: int | None) -> str:
    """Return a cell, which is empty if the row is too short or there is no such column."""
    if index is None or index >= len(row.cells):
        return ""
    return row.cells[index]


def list_of(cell: str, part: str) -> Any:
    """Return the value that a cell spells in JSON or as a Python literal.

    Raises:
        MalformedLine: The cell spells neither.
    """
    value = parse_json(cell)
    if value is None:
        value = parse_literal(cell)
    if value is None:
        raise MalformedLine(f"'{part}' to be a list in JSON", safe_repr(cell))
    return value


def words_of(cell: str, part: str) -> Any:
    """Return the words or tags of a cell: a list, or a text whose words are separated by blanks."""
    if cell.lstrip().startswith("["):
        return list_of(cell, part)
    return cell.split()


def integer_of(cell: str, part: str) -> int:
    """Return the integer of a cell, which Excel may write with decimals.

    Raises:
        MalformedLine: The cell holds none.
    """
    digits = cell.strip().removesuffix(".0")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise MalformedLine(f"a number in '{part}'", safe_repr(cell))
    return int(digits)


def write_cells(writer: Any, records: Iterable[Record], notes: Notes) -> None:
    """Write a row for each record.

    Args:
        writer: A writer of ``csv``.
        records: Cleaned records.
        notes: Receives keys that are not written, and cells that a spreadsheet would evaluate.
    """
    writer.writerow(COLUMNS)
    for record in records:
        for key in record.keys() - set(COLUMNS):
            notes.unused[f"key '{key}', for which tables have no column"] += 1
        row = []
        for column in COLUMNS:
            value = record.get(column, "")
            if isinstance(value, list):
                value = json.dumps(value, ensure_ascii=False)
            if is_formula(str(value)):
                notes.remarks["cells that a spreadsheet evaluates: import them as text"] += 1
            row.append(value)
        writer.writerow(row)
