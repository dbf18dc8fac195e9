"""From the JSON lines of what was found to the forms that other programs read."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

from mmie.inference.formats.graph_page import write_html
from mmie.inference.formats.graphs import write_graphml, write_turtle
from mmie.inference.formats.text import FormatError, read_jsonl, to_conll, to_triples
from mmie.types import Extraction
from mmie.utils.files import atomic_write

Writer = Callable[[Iterable[Extraction], Path], None]
_COLUMNS = ("post", "head", "head_type", "label", "tail", "tail_type", "probability")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet would compute."""


def convert(found: Path, targets: Iterable[Path]) -> None:
    """Write what was found in other forms, each told by its suffix: see `WRITERS`.

    Raises:
        FormatError: A suffix is not known, or ``found`` holds something else.
        MissingPackageError: A form needs a package that is not installed.
    """
    targets = list(targets)
    for target in targets:
        check_suffix(target)
    for target in targets:
        WRITERS[target.suffix](read_jsonl(found), target)


def check_suffix(target: Path) -> None:
    """Refuse a file of no known form.

    Raises:
        FormatError: It is of none.
    """
    if target.suffix not in WRITERS:
        raise FormatError(
            f"{target}: expected a name that ends in .jsonl or in one of {', '.join(WRITERS)}"
        )


def write_conll(extractions: Iterable[Extraction], file: Path) -> None:
    """Words and tags, as CoNLL's and Twitter-2017's files have them."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", errors="replace", newline="") as stream:
            stream.writelines(map(to_conll, extractions))

    atomic_write(file, write)


def write_csv(extractions: Iterable[Extraction], file: Path) -> None:
    """A row for every relation. A cell that a spreadsheet would take for a formula gets an apostrophe in front."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", errors="replace", newline="") as stream:
            rows = csv.DictWriter(stream, _COLUMNS)
            rows.writeheader()
            for extraction in extractions:
                rows.writerows(
                    {key: _cell(value) for key, value in row.items()}
                    for row in to_triples(extraction)
                )

    atomic_write(file, write)


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


WRITERS: dict[str, Writer] = {
    ".conll": write_conll,
    ".csv": write_csv,
    ".ttl": write_turtle,
    ".graphml": write_graphml,
    ".html": write_html,
}
"""CoNLL; triples; RDF in Turtle; GraphML; an interactive graph."""
