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
from mmie.data.sources.items import find_id
from mmie.data.text_files import is_blank
from mmie.formats.as_text import as_text
from mmie.formats.base import Format, Notes, ReadOptions
from mmie.formats.linking import count_probabilities, link_relations, unlink_relations
from mmie.formats.records import Item, list_objects, without_keys
from mmie.formats.texts import parse_json, read_text, write_lines
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
        for text in head.splitlines():
            line = parse_json(text)
            if isinstance(line, dict) and _has_spans(line):
                return True
        return False

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record for each line that is not blank.

        Raises:
            FormatError: The file cannot be read.
        """
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if is_blank(line):
                continue
            try:
                yield _read_line(parse_record(line), str(number), notes)
            except MalformedLine as error:
                yield BadPost.of(f"line {number}", error, find_id(line))

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
    record = without_keys(line, *_OWN_KEYS)
    record["id"] = line.get(_POST_ID, line.get("id", number))
    entities: dict[object, Item] = {}
    for key in _TRIPLES:
        triples: list[Any] = list_value(line, key, object, "spans")
        if not all(map(_is_triple, triples)):
            notes.unused["labels of whole posts"] += len(triples)
            continue
        record.pop(key, None)
        for start, end, kind in triples:
            entities[key, len(entities)] = {"start": start, "end": end, "type": kind}
    for item in list_objects(line, "entities"):
        start, end = item.get("start_offset"), item.get("end_offset")
        entities[item.get("id")] = {"start": start, "end": end, "type": item.get("label")}
    if line.get("Comments"):
        notes.unused["comments"] += 1
    record["entities"], record["relations"] = _unlink(line, entities)
    return record


def _unlink(line: Record, entities: Mapping[object, Item]) -> tuple[list[Item], list[Item]]:
    """Return the entities of a line, and its relations between them.

    Raises:
        MalformedLine: A relation names an entity that is not there.
    """
    links = []
    for item in list_objects(line, "relations"):
        links.append((item.get("from_id"), item.get("to_id"), {"label": item.get("type")}))
    try:
        return unlink_relations(entities, links)
    except (KeyError, TypeError):
        relations = safe_repr(line.get("relations"))
        raise MalformedLine("relations between ids of entities", relations) from None


def _to_line(record: Record, with_relations: bool, notes: Notes) -> Record:
    """Convert a record with a text to a line.

    Args:
        record: The record.
        with_relations: Whether the file has the form with relations.
        notes: Receives what doccano does not hold.
    """
    line = without_keys(record, "entities", "relations")
    line[_POST_ID] = line.pop("id")
    count_probabilities(record, notes)
    entities, links = link_relations(record, notes)
    triples, spans, relations = [], [], []
    for index, item in enumerate(entities):
        start, end, kind = item["start"], item["end"], item["type"]
        triples.append([start, end, kind])
        spans.append({"id": index, "label": kind, "start_offset": start, "end_offset": end})
    for index, (head, tail, relation) in enumerate(links):
        ends = {"from_id": head, "to_id": tail}
        relations.append({"id": index, **ends, "type": relation["label"]})
    if not with_relations:
        return {**line, "label": triples}
    return {**line, "entities": spans, "relations": relations}
