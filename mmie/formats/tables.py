"""Posts in tables: CSV and TSV, also as Excel writes them, and Excel's own files.

==========  ========================================================================================
a row is    columns
==========  ========================================================================================
a post      ``text`` or ``words``, with ``entities`` (JSON: a list of spans), ``tags``, or entities
            marked within the text (see `mmie.formats.inline`)
a span      ``text``, ``start``, ``end``, ``label``, and ``id`` if posts have equal texts. A post
            without spans has one row without
a word      ``word``, ``tag``, and ``sentence`` or ``id``. An empty one continues the post
==========  ========================================================================================

The first row names the columns, by the names in `mmie.formats.keys`; ``--columns part=name`` sets
others. Delimiters are found: comma, semicolon, tab or ``|``. A first line ``sep=;`` is skipped.
Quotes are read as `mmie.data.sources.delimited` describes.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmie.data.parsing import Record
from mmie.data.sources import BadPost
from mmie.data.sources.delimited import TAB
from mmie.data.sources.first_row import open_table
from mmie.data.text_files import undecodable
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.cells import Row, cell_of, write_cells
from mmie.formats.keys import describe_parts
from mmie.formats.pictures import PictureFinder
from mmie.formats.table_layouts import TableLayout, find_layout, read_rows
from mmie.formats.texts import read_text
from mmie.utils.files import atomic_write
from mmie.utils.optional import require

_EXCEL = (".xlsx", ".xlsm")
_TEXTS = (".tsv", ".txt")


class Tables(Format):
    """CSV, TSV and Excel."""

    name = "tables"
    description = "CSV, TSV or Excel: a row per post, per span or per word; named by --to for .csv"
    suffixes = (".tsv", ".xlsx")

    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether the first row names columns of posts, or the suffix is that of a table.

        Columns of other names are set by ``--columns``, which is not known here.
        """
        suffix = path.suffix.lower()
        if suffix in (*_EXCEL, ".csv"):
            return path.is_file()
        if suffix not in _TEXTS:
            return False
        try:
            layout = find_layout(path, list(_text_rows(head, path)), ReadOptions())
        except FormatError:
            return False
        return suffix != ".txt" or len(layout.parts) > 1

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record for each post.

        Raises:
            FormatError: The file is no table, or no column holds a text or words.
            MissingPackageError: The file is Excel's and openpyxl is not installed.
        """
        if path.suffix.lower() in _EXCEL:
            rows = _excel_rows(path)
        else:
            rows = list(_text_rows(read_text(path), path))
        layout = find_layout(path, rows, options)
        notes.found.append(f"a row per {layout.unit}: {describe_parts(layout.parts, 'column')}")
        _count_unused(layout, rows, notes)
        pictures = PictureFinder(options.pictures or path.parent, options.pictures is None)
        for item in read_rows(layout, rows[1:], options):
            yield item if isinstance(item, BadPost) else pictures.resolve(item)

    def write(self, records: Iterable[Record], path: Path, notes: Notes) -> None:
        """Write a row for each post, with entities and relations as JSON.

        Raises:
            FormatError: The suffix is that of Excel.
        """
        if path.suffix.lower() in _EXCEL:
            raise FormatError(f"{path}: Excel's own files are only read: write .csv or .tsv")
        is_tsv = path.suffix.lower() == ".tsv"

        def write(partial: Path) -> None:
            with partial.open("w", encoding="utf-8", errors="replace", newline="") as stream:
                if is_tsv:  # quotes around all cells tell that tabs and line ends are in them
                    writer = csv.writer(stream, delimiter=TAB, quoting=csv.QUOTE_ALL)
                else:
                    writer = csv.writer(stream)
                write_cells(writer, records, notes)

        atomic_write(path, write)


def _count_unused(layout: TableLayout, rows: Sequence[Row], notes: Notes) -> None:
    """Count the cells of columns that hold no part of a post."""
    for index, name in enumerate(layout.header):
        if name not in layout.parts.values():
            count = sum(bool(cell_of(row, index)) for row in rows[1:])
            if count:
                notes.unused[f"column '{name}'"] += count


def _text_rows(text: str, path: Path) -> Iterator[Row]:
    """Yield the rows of a text, as `mmie extract` reads them."""
    table = open_table(io.StringIO(text, newline="\n"), path, keep_blank=True)
    if not table.columns:
        yield Row(table.number, [], "a first row whose quotes are closed")
        return
    yield Row(table.number, table.columns)
    for row in table.rows:
        bad = undecodable(row.text)
        if bad is not None:
            yield Row(row.number, [], f"UTF-8 text, found {bad}", "encoding")
        else:
            yield Row(row.number, row.fields, row.expected)


def _excel_rows(path: Path) -> list[Row]:
    """Return the rows of the first sheet.

    Raises:
        FormatError: The file cannot be read.
        MissingPackageError: openpyxl is not installed.
    """
    openpyxl = require("openpyxl", "excel")
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        rows = [list(row) for row in sheet.iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # openpyxl raises almost anything on damaged files
        raise FormatError(f"{path}: expected an Excel file, found {type(error).__name__}") from None
    texts = []
    for number, row in enumerate(rows, start=1):
        texts.append(Row(number, ["" if cell is None else str(cell) for cell in row]))
    return texts
