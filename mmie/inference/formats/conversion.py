"""Conversion of JSON lines to the formats that other programs read."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

from mmie.inference.formats.graph_page import write_html
from mmie.inference.formats.graphs import write_graphml
from mmie.inference.formats.text import FormatError, read_jsonl, to_conll, to_triples
from mmie.inference.formats.turtle import write_turtle
from mmie.types import Extraction
from mmie.utils.files import atomic_write

Writer = Callable[[Iterable[Extraction], Path], None]
_COLUMNS = ("post", "head", "head_type", "label", "tail", "tail_type", "probability")
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")
"""First characters of cells that a spreadsheet evaluates."""


def convert(found: Path, targets: Iterable[Path]) -> None:
    """Convert a file of JSON lines to other formats, chosen by the targets' suffixes (`WRITERS`).

    Raises:
        FormatError: A suffix is unknown, or a line of ``found`` is no extraction.
        MissingPackageError: A format needs a package that is not installed.
    """
    targets = list(targets)
    for target in targets:
        check_suffix(target)
    for target in targets:
        WRITERS[target.suffix](read_jsonl(found), target)


def check_suffix(target: Path) -> None:
    """Raise unless a file's suffix names a known format.

    Raises:
        FormatError: The suffix is unknown.
    """
    if target.suffix not in WRITERS:
        raise FormatError(
            f"{target}: expected a name that ends in .jsonl or in one of {', '.join(WRITERS)}"
        )


def write_conll(extractions: Iterable[Extraction], file: Path) -> None:
    """Write words and tags in the format of CoNLL and Twitter-2017."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", errors="replace", newline="") as stream:
            stream.writelines(map(to_conll, extractions))

    atomic_write(file, write)


def write_csv(extractions: Iterable[Extraction], file: Path) -> None:
    """Write a CSV row for every relation.

    An apostrophe precedes a cell that a spreadsheet would evaluate as a formula.
    """

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", errors="replace", newline="") as stream:
            rows = csv.DictWriter(stream, _COLUMNS)
            rows.writeheader()
            for extraction in extractions:
                for triple in to_triples(extraction):
                    rows.writerow({key: _escape_formula(cell) for key, cell in triple.items()})

    atomic_write(file, write)


def _escape_formula(cell: object) -> object:
    """Put an apostrophe before a cell that a spreadsheet would evaluate."""
    if isinstance(cell, str) and cell.startswith(_FORMULA_PREFIXES):
        return f"'{cell}"
    return cell


WRITERS: dict[str, Writer] = {
    ".conll": write_conll,
    ".csv": write_csv,
    ".ttl": write_turtle,
    ".graphml": write_graphml,
    ".html": write_html,
}
"""Writers by suffix: CoNLL, triples, RDF in Turtle, GraphML, an interactive graph."""
