"""Conversion of JSON lines to the formats that other programs read."""

import csv
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mmie.data.parsing import Record
from mmie.formats.base import Notes
from mmie.formats.conversion import RecordWriter
from mmie.inference.formats.graph_page import write_html
from mmie.inference.formats.graphs import write_graphml
from mmie.inference.formats.text import FormatError, from_json, read_jsonl, to_conll, to_triples
from mmie.inference.formats.turtle import write_turtle
from mmie.types import Extraction
from mmie.utils.files import atomic_write
from mmie.utils.text import is_formula

Writer = Callable[[Iterable[Extraction], Path], None]
_COLUMNS = ("post", "head", "head_type", "label", "tail", "tail_type", "probability")


def convert(found: Path, targets: Iterable[Path]) -> None:
    """Convert a file of JSON lines to other formats, chosen by the targets' suffixes (`WRITERS`).

    Raises:
        FormatError: A suffix is unknown, a target is ``found`` itself, or a line of ``found`` is no
            extraction.
        MissingPackageError: A format needs a package that is not installed.
    """
    targets = list(targets)
    for target in targets:
        check_suffix(target)
        if target.exists() and target.samefile(found):
            raise FormatError(
                f"{target} holds the extractions, and would be written over: name another file"
            )
    for target in targets:
        WRITERS[target.suffix](read_jsonl(found), target)


def record_writer(suffix: str) -> RecordWriter:
    """Return the writer of `WRITERS` for records of annotations, whose probability is 1.

    Args:
        suffix: One of the suffixes of `WRITERS`.
    """

    def write(records: Iterable[Record], file: Path, notes: Notes) -> None:
        extractions = (from_json(_with_probabilities(record)) for record in records)
        WRITERS[suffix](extractions, file)

    return write


def _with_probabilities(record: Record) -> Record:
    """Return a record as `from_json` takes it.

    Entities and relations have a probability, and heads and tails the type of their entity.
    """
    given: dict[str, Any] = {"entities": [], "relations": [], **record}
    types = {(item["start"], item["end"]): item["type"] for item in given["entities"]}
    relations = []
    for item in given["relations"]:
        relation = {"probability": 1.0, **item}
        for name in ("head", "tail"):
            span = item[name]
            kind = span.get("type") or types.get((span["start"], span["end"]), "")
            relation[name] = {**span, "type": kind}
        relations.append(relation)
    entities = [{"probability": 1.0, **item} for item in given["entities"]]
    return {**given, "id": str(given["id"]), "entities": entities, "relations": relations}


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
    """Put an apostrophe before a cell that a spreadsheet would evaluate.

    See `mmie.utils.text.is_formula`. A control character in front is taken for one as well.
    """
    if not isinstance(cell, str):
        return cell
    starts_with_control = unicodedata.category(cell[:1] or "a") == "Cc"
    return f"'{cell}" if starts_with_control or is_formula(cell) else cell


WRITERS: dict[str, Writer] = {
    ".conll": write_conll,
    ".csv": write_csv,
    ".ttl": write_turtle,
    ".graphml": write_graphml,
    ".html": write_html,
}
"""Writers by suffix: CoNLL, triples, RDF in Turtle, GraphML, an interactive graph."""
