"""Exports of doccano, in JSON lines, and files for its import.

=======================================  =========================================================
version, kind of project                 keys of a line
=======================================  =========================================================
1.0 and later                            ``label`` or ``labels``: ``[[start, end, type], ...]``
1.5 and later, with relations            ``entities``: ``id``, ``start_offset``, ``end_offset``,
                                         ``label``; ``relations``: ``from_id``, ``to_id``, ``type``
=======================================  =========================================================

Offsets count code points. All other keys of a line are metadata, which doccano keeps: picture,
crops, context and words lie there. doccano numbers posts itself, so that ids are written as
``post_id``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmie.data.parsing import MalformedLine, Record, list_value
from mmie.data.post_json import parse_record
from mmie.data.sources import BadPost
from mmie.formats.as_text import as_text
from mmie.formats.base import Format, Notes, ReadOptions
from mmie.formats.linking import count_probabilities, link_relations, unlink_relations
from mmie.formats.texts import decode, parse_json, read_bytes, write_lines
from mmie.utils.text import safe_repr

_TRIPLES = ("label", "labels")
_POST_ID = "post_id"
_TRIPLE = 3
_OWN_KEYS = {"id", _POST_ID, "entities", "relations", "Comments"}
"""Keys that doccano gives a meaning. All others are metadata."""


class Doccano(Format):
    """JSON lines of doccano."""

    name = "doccano"
    description = "doccano's JSON lines, with or without relations"
    suffixes = (".jsonl",)

    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether one of the first lines holds spans as only doccano writes them."""
        lines = (parse_json(line) for line in head.splitlines() if line.strip())
        return any(isinstance(line, dict) and _has_spans(line) for line in lines)

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record for each line that is not blank.

        Raises:
            FormatError: The file cannot be read.
        """
        for number, line in enumerate(decode(read_bytes(path)).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                yield _read_line(parse_record(line), str(number), notes)
            except MalformedLine as error:
                yield BadPost(f"line {number}", str(error))

    def write(self, records: Iterable[Record], path: Path, notes: Notes) -> None:
        """Write a line for each record, in the form with relations if any record has some."""
        texts = list(map(as_text, records))
        with_relations = any(record.get("relations") for record in texts)
        lines = (_to_line(record, with_relations, notes) for record in texts)
        write_lines(path, (json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _has_spans(line: Mapping[str, Any]) -> bool:
    """Tell whether a line holds spans of doccano."""
    if not isinstance(line.get("text"), str):
        return False
    for key in (*_TRIPLES, "entities"):
        items = line.get(key)
        if not isinstance(items, list) or not items:
            continue
        if key == "entities":
            return isinstance(items[0], dict) and "start_offset" in items[0]
        return _is_triple(items[0])
    return False


def _is_triple(item: object) -> bool:
    """Tell whether a label is a span, and not one of the whole post."""
    return isinstance(item, list) and len(item) == _TRIPLE


def _read_line(line: Record, number: str, notes: Notes) -> Record:
    """Convert a line to a record.

    Raises:
        MalformedLine: A span or relation does not have the form of doccano.
    """
    record = {key: value for key, value in line.items() if key not in _OWN_KEYS}
    record["id"] = line.get(_POST_ID, line.get("id", number))
    entities: dict[object, dict[str, Any]] = {}
    for key in _TRIPLES:
        triples = list_value(line, key, object, "spans")
        if not all(map(_is_triple, triples)):
            notes.unused["labels of whole posts"] += len(triples)
            continue
        record.pop(key, None)
        for item in triples:
            span = dict(zip(("start", "end", "type"), item, strict=True))  # type: ignore[call-overload]
            entities[key, len(entities)] = span
    for item in list_value(line, "entities", dict, "objects"):
        start, end = item.get("start_offset"), item.get("end_offset")
        entities[item.get("id")] = {"start": start, "end": end, "type": item.get("label")}
    links = []
    for item in list_value(line, "relations", dict, "objects"):
        links.append((item.get("from_id"), item.get("to_id"), {"label": item.get("type")}))
    try:
        record["entities"], record["relations"] = unlink_relations(entities, links)
    except (KeyError, TypeError):
        relations = safe_repr(line["relations"])
        raise MalformedLine("relations between ids of entities", relations) from None
    if line.get("Comments"):
        notes.unused["comments"] += 1
    return record


def _to_line(record: Record, with_relations: bool, notes: Notes) -> Record:
    """Convert a record with a text to a line.

    Args:
        record: The record.
        with_relations: Whether the file has the form with relations.
        notes: Receives what doccano does not hold.
    """
    line = {key: value for key, value in record.items() if key not in ("entities", "relations")}
    line[_POST_ID] = line.pop("id")
    count_probabilities(record, notes)
    entities, links = link_relations(record, notes)
    if not with_relations:
        return {**line, "label": [[item["start"], item["end"], item["type"]] for item in entities]}
    line["entities"] = [
        {
            "id": index,
            "label": item["type"],
            "start_offset": item["start"],
            "end_offset": item["end"],
        }
        for index, item in enumerate(entities)
    ]
    line["relations"] = [
        {"id": index, "from_id": head, "to_id": tail, "type": relation["label"]}
        for index, (head, tail, relation) in enumerate(links)
    ]
    return line
