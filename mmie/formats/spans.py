"""Spans and relations in the forms that tables and JSON of other programs have."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmie.data.parsing import MalformedLine, Record
from mmie.formats.keys import SPAN_NAMES, find_parts
from mmie.formats.records import Item, without_keys
from mmie.utils.text import safe_repr

_HEADS = ("head", "h", "subject", "source", "from", "child_head")
_TAILS = ("tail", "t", "object", "target", "to")
_LABELS = ("label", "type", "relation", "predicate")
_TRIPLE = 3


def read_entities(value: object, text: str | Sequence[str]) -> list[Item]:
    """Return the entities of a post in the form of records.

    Args:
        value: A list of objects with a start, an end and a type, or of lists of the three.
        text: Text or words that the spans count in. Where an object gives its text, too, the two
            must agree.

    Raises:
        MalformedLine: The value is no such list, or a text differs from the one of its span.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedLine("a list of entities", safe_repr(value))
    return [_read_entity(item, text) for item in value]


def read_relations(value: object, entities: Sequence[Record]) -> list[Item]:
    """Return the relations of a post in the form of records.

    Args:
        value: A list of objects with a head, a tail and a label. Head and tail are spans, or the
            index or ``id`` of an entity.
        entities: Entities of the post.

    Raises:
        MalformedLine: The value is no such list, or names an entity that is not there.
    """
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise MalformedLine("a list of relations", safe_repr(value))
    relations = []
    for item in value:
        relation = dict(item)
        for name, keys in (("head", _HEADS), ("tail", _TAILS)):
            key = _first_key(item, keys, f"a relation with a {name!r}")
            relation.pop(key)
            relation[name] = _read_argument(item[key], entities)
        key = _first_key(item, _LABELS, "a relation with a 'label'")
        relation.pop(key)
        relations.append({**relation, "label": item[key]})
    return relations


def end_of(item: object) -> int | None:
    """Return the end of an entity in any of the forms, or None if it has no end."""
    try:
        entity = _read_entity(item, None)
    except MalformedLine:
        return None
    if type(entity["end"]) is not int:
        return None
    return int(entity["end"])


def _read_entity(item: object, text: str | Sequence[str] | None) -> Item:
    """Return an entity in the form of records, whose text is checked if that of the post is given.

    Raises:
        MalformedLine: The item has no start, end or type, or another text than its span.
    """
    if isinstance(item, list | tuple):
        if len(item) != _TRIPLE:
            raise MalformedLine("an entity of start, end and type", safe_repr(item))
        start, end, kind = item
        if isinstance(start, str):  # type in front, as in BRAT's JSON
            kind, start, end = item
        return {"start": start, "end": end, "type": kind}
    if not isinstance(item, dict):
        raise MalformedLine("an entity with start, end and type", safe_repr(item))
    parts = find_parts(filter(_is_text, item), SPAN_NAMES, {})
    start, end = _read_offsets(item, parts)
    kind = item.get(parts.get("type", "type"))
    if isinstance(kind, list) and len(kind) == 1:
        kind = kind[0]
    used = [parts[part] for part in ("start", "end", "type") if part in parts]
    entity = without_keys(item, "pos", *used)
    entity |= {"start": start, "end": end, "type": kind}
    if text is not None:
        _check_text(entity, parts, text)
    return entity


def _read_offsets(item: Mapping[str, Any], parts: Mapping[str, str]) -> tuple[object, object]:
    """Return start and end of a span: two keys, or a pair under ``pos`` or ``span``."""
    if "start" in parts and "end" in parts:
        return item[parts["start"]], item[parts["end"]]
    for key in ("pos", "span", "offsets", "position"):
        value = item.get(key)
        if isinstance(value, list) and len(value) == 2:
            return value[0], value[1]
    raise MalformedLine("an entity with start and end", safe_repr(item))


def _check_text(
    entity: Mapping[str, Any], parts: Mapping[str, str], text: str | Sequence[str]
) -> None:
    """Raise if an entity gives another text than that of its span.

    Raises:
        MalformedLine: The two differ.
    """
    given = entity.get(parts.get("span", "text"), entity.get("text", entity.get("name")))
    start, end = entity["start"], entity["end"]
    if not isinstance(given, str) or type(start) is not int or type(end) is not int:
        return
    covered = text[start:end] if isinstance(text, str) else " ".join(text[start:end])
    if covered.split() != given.split() and "".join(covered.split()) != "".join(given.split()):
        raise MalformedLine(
            f"the text {given!r} of an entity at {start} to {end} (exclusive)", repr(covered)
        )


def _read_argument(value: object, entities: Sequence[Record]) -> Item:
    """Return the head or tail of a relation as a span.

    Raises:
        MalformedLine: The value is no span and names no entity.
    """
    if isinstance(value, dict):
        parts = find_parts(filter(_is_text, value), SPAN_NAMES, {})
        start, end = _read_offsets(value, parts)
        argument: Item = {"start": start, "end": end}
        kind = value.get(parts.get("type", "type"))
        if kind is not None:
            argument["type"] = kind
        return argument
    for entity in entities:
        if value is not None and entity.get("id") == value:
            return _span_of(entity)
    if type(value) is int and 0 <= value < len(entities):
        return _span_of(entities[value])
    raise MalformedLine("a span, or the index or id of an entity", safe_repr(value))


def _span_of(entity: Record) -> Item:
    """Return start, end and type of an entity."""
    return {"start": entity["start"], "end": entity["end"], "type": entity["type"]}


def _first_key(item: Mapping[str, Any], keys: Sequence[str], expected: str) -> str:
    """Return the first key that an object has.

    Raises:
        MalformedLine: The object has none of the keys.
    """
    for key in keys:
        if key in item:
            return key
    raise MalformedLine(expected, safe_repr(item))


def _is_text(value: object) -> bool:
    """Tell whether a key is a text."""
    return isinstance(value, str)
