"""Rows of delimited text, of which none is ever lost in a quote that another row opens.

Quoting is ambiguous: ``1<TAB>"We love Rome`` is a whole row of tools that do not quote, and the
first line of a field over several lines of tools that do. A field over several lines is accepted
if it closes correctly, gives the row all of its columns, and

- in tab-separated text, if it holds no tab, or all fields of the row are quoted: lines that hold
  tabs are rows themselves;
- in all other text, unless each of its lines is a row with an integer in front.

A tool that quotes the names of the columns quotes everything, and all its fields are accepted.

Otherwise each line is a row by itself, or is named as one that cannot be read.
"""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

TAB = "\t"
FIELD_DELIMITERS = (",", ";", TAB, "|")
"""Delimiters that spreadsheets write."""
MAX_FIELD = 2**24
"""Most characters of a field of a table."""
_MAX_SPAN = 1000
"""Most lines of a field."""
_LONE_RETURN = re.compile(r"(?<=\r)(?=[^\n])")
_QUOTED_ROW = re.compile(r'(?:"(?:[^"]|"")*"\t)*+"(?:[^"]|"")*+"[\r\n]*')
"""Tab-separated row of which every field is quoted."""
_AMBIGUOUS = (
    "a row, found a quote that opens in line {first} and may close in line {last}: quote every "
    "field that holds a quote, and double the quotes in it"
)
_OPEN = "a quote that closes the field, found none that does: double the quotes in quoted fields"


class DelimitedRow(NamedTuple):
    """Row of a table.

    Attributes:
        number: Number of its first line, from 1.
        text: Its lines, joined.
        fields: Its fields; empty if it cannot be read.
        expected: What was expected of a row that cannot be read, and what was found.
    """

    number: int
    text: str
    fields: list[str]
    expected: str = ""


class _Span(NamedTuple):
    """Lines from one that opens a quote on.

    Attributes:
        lines: The lines that were read to find the end of the row.
        fields: Fields of the row; None if the quotes are wrong.
    """

    lines: list[str]
    fields: list[str] | None


class DelimitedText:
    """Iterator over the rows of delimited text.

    Args:
        lines: Lines with their ends.
        delimiter: One character.
        first: Number of the first line.
        columns: Number of columns.
        is_quoted: Whether the names of the columns are quoted.
        keep_blank: Whether a blank line is a row without fields. Otherwise it is left out.
    """

    def __init__(
        self,
        lines: Iterable[str],
        delimiter: str,
        first: int,
        columns: int,
        is_quoted: bool = False,
        keep_blank: bool = False,
    ) -> None:
        csv.field_size_limit(MAX_FIELD)
        self._lines = iter(lines)
        self._pending: deque[str] = deque()
        self._delimiter = delimiter
        self._columns = columns
        self._has_text_quotes = delimiter == TAB and not is_quoted
        self._is_quoted = is_quoted
        self._keep_blank = keep_blank
        self._number = first - 1
        self._last_doubtful = 0

    def __iter__(self) -> Iterator[DelimitedRow]:
        """Yield the rows."""
        while (line := self._next_line()) is not None:
            self._number += 1
            if line.strip("\r\n"):
                yield from self._read_row(line)
            elif self._keep_blank:
                yield DelimitedRow(self._number, line, [])

    def _next_line(self) -> str | None:
        """Return the next line, or None behind the last one."""
        if self._pending:
            return self._pending.popleft()
        return next(self._lines, None)

    def _read_row(self, line: str) -> Iterator[DelimitedRow]:
        """Yield the row that begins with a line, or each line of a quote that is ambiguous."""
        literal = line.rstrip("\r\n").split(self._delimiter)
        fields, is_open = parse_line(line, self._delimiter)
        if fields is None and is_open:
            yield from self._read_open_row(line, literal)
            return
        # quotes are text where only the reading without them gives all of the columns
        is_literal = fields is None or len(literal) == self._columns != len(fields)
        if self._has_text_quotes and is_literal:
            fields = literal
        if fields is None:
            yield DelimitedRow(self._number, line, [], _OPEN)
        else:
            yield self._checked(line, fields)

    def _checked(self, line: str, fields: list[str]) -> DelimitedRow:
        """Return the row of some fields unless their number is wrong."""
        if len(fields) > self._columns:
            found = f"{self._columns} fields, found more: quote what holds the delimiter"
            return DelimitedRow(self._number, line, [], found)
        if self._number <= self._last_doubtful and len(fields) < self._columns:
            found = f"{self._columns} fields, found {len(fields)} in the middle of an open quote"
            return DelimitedRow(self._number, line, [], found)
        return DelimitedRow(self._number, line, fields)

    def _read_open_row(self, line: str, literal: list[str]) -> Iterator[DelimitedRow]:
        """Yield the row, or rows, that begin with a line that leaves a quote open."""
        span = self._read_span(line)
        following = span.lines[1:]
        is_row = span.fields is not None and len(span.fields) <= self._columns
        if is_row and span.fields is not None and self._is_one_row(span.lines, span.fields):
            yield DelimitedRow(self._number, "".join(span.lines), span.fields)
            self._number += len(following)
            return
        if is_row and (not self._has_text_quotes or not self._are_rows(span.lines)):
            first, last = self._number, self._number + len(following)
            expected = _AMBIGUOUS.format(first=first, last=last)
            for offset, doubtful in enumerate(span.lines):
                yield DelimitedRow(first + offset, doubtful, [], expected)
            self._number = last
            return
        self._pending.extendleft(reversed(following))
        self._last_doubtful = max(self._last_doubtful, self._number + len(following))
        if self._has_text_quotes:
            yield self._checked(line, literal)
        else:
            yield DelimitedRow(self._number, line, [], _OPEN)

    def _read_span(self, line: str) -> _Span:
        """Read on to the line in which the row ends that a line begins."""
        consumed = [line]

        def feed() -> Iterator[str]:
            yield line
            while len(consumed) < _MAX_SPAN and (following := self._next_line()) is not None:
                consumed.append(following)
                yield following

        try:
            return _Span(consumed, next(csv.reader(feed(), delimiter=self._delimiter, strict=True)))
        except csv.Error:
            return _Span(consumed, None)

    def _is_one_row(self, lines: list[str], fields: list[str]) -> bool:
        """Tell whether lines are a row with a field over several lines, and not several rows."""
        if self._is_quoted:
            return True
        if self._delimiter == TAB:
            long = [field for field in fields if "\n" in field or "\r" in field]
            has_tabs = any(TAB in field for field in long)
            is_quoted = _QUOTED_ROW.fullmatch("".join(lines)) is not None
            return len(fields) == self._columns > 1 and (is_quoted or not has_tabs)
        if len(fields) != self._columns or not self._are_rows(lines):
            return True
        return not all(line.split(self._delimiter)[0].strip().isdecimal() for line in lines)

    def _are_rows(self, lines: list[str]) -> bool:
        """Tell whether each line has as many fields as there are columns, if quotes are text."""
        return all(line.count(self._delimiter) == self._columns - 1 for line in lines)


def split_returns(lines: Iterable[str]) -> Iterator[str]:
    r"""Divide lines at carriage returns that are not followed by ``\n``, too."""
    for line in lines:
        if "\r" in line:
            yield from _LONE_RETURN.split(line)
        else:
            yield line


def parse_line(line: str, delimiter: str) -> tuple[list[str] | None, bool]:
    r"""Parse a line as a whole row.

    Returns:
        Its fields, None if its quotes are wrong; and whether the line leaves a quote open.

    >>> parse_line('1,"a, b"', ","), parse_line('1,"a', ","), parse_line('1,"a"b', ",")
    ((['1', 'a, b'], False), (None, True), (None, False))
    """
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True)), False
    except csv.Error as error:
        return None, str(error) == "unexpected end of data"
