"""Markdown tables, and the tables of reStructuredText in docstrings."""

import re
from collections.abc import Sequence

_RULE = re.compile(r"^=+(?: +=+)*$")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Build a Markdown table.

    Args:
        header: Titles of the columns.
        rows: Cells of each row, in Markdown.
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(escape_cell, cells))} |" for cells in lines)


def escape_cell(text: str) -> str:
    """Escape the bars of a cell that do not stand in code, and join its lines."""
    parts = re.split(r"(`+[^`]+`+)", " ".join(text.split()))
    escaped = [part if part.startswith("`") else part.replace("|", "\\|") for part in parts]
    return "".join(escaped)


def convert_tables(docstring: str) -> str:
    """Convert the simple tables of reStructuredText in a docstring to Markdown tables."""
    blocks: list[str] = []
    lines = docstring.splitlines()
    index = 0
    while index < len(lines):
        end = _end_of_table(lines, index)
        if end is None:
            blocks.append(lines[index])
            index += 1
            continue
        indent = lines[index][: len(lines[index]) - len(lines[index].lstrip())]
        rows = read_table([line[len(indent) :] for line in lines[index:end]])
        header = rows.pop(0) if _has_header(lines[index:end]) else [""] * len(rows[0])
        table = markdown_table(header, rows)
        blocks += [indent + line for line in table.splitlines()]
        index = end
    return "\n".join(blocks)


def read_table(lines: Sequence[str]) -> list[list[str]]:
    """Read a simple table of reStructuredText.

    Args:
        lines: Its lines, from the first rule to the last. A line with an empty first cell continues
            the row above it.

    Returns:
        The rows, the header first if the table has one.
    """
    starts = [match.start() for match in re.finditer("=+", lines[0])]
    ends = [*starts[1:], None]
    rows: list[list[str]] = []
    for line in lines:
        if _RULE.match(line.strip()):
            continue
        cells = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    return rows


def _has_header(lines: Sequence[str]) -> bool:
    """Tell whether a table has a rule below its first row."""
    return sum(bool(_RULE.match(line.strip())) for line in lines) == 3


def _end_of_table(lines: Sequence[str], start: int) -> int | None:
    """Return the line behind a table that starts here, None if none does."""
    if not _RULE.match(lines[start].strip()) or " " not in lines[start].strip():
        return None
    rules = []
    for index in range(start, len(lines)):
        if not lines[index].strip():
            break
        if _RULE.match(lines[index].strip()):
            rules.append(index)
    return rules[-1] + 1 if len(rules) > 1 else None
