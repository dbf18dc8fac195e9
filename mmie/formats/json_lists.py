"""Posts in a JSON array, or in JSON lines, with the keys of other programs.

A record has ``tokens`` with ``ner_tags``, or a text or tokens with spans (``entities``, ``spans``),
under any of the names in `mmie.formats.keys`, or without labels, as N24News has. Python literals a
line, as in MNRE (``token``, ``h``, ``t``, ``relation``), are read, too. An object that holds one
array under any key is read as the array. ``--columns part=key`` names other keys.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmie.data.parsing import MalformedLine, Record, check_words, unique_keys
from mmie.data.sources import BadPost
from mmie.data.sources.items import id_of
from mmie.data.text_files import is_blank, undecodable
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.keys import NAMES, describe_parts, find_parts
from mmie.formats.pictures import PICTURES, PictureFinder
from mmie.formats.records import list_objects
from mmie.formats.spans import end_of, read_entities, read_relations
from mmie.formats.tagging import lack_prefixes, read_tags
from mmie.formats.texts import first_json_line, parse_literal, read_text
from mmie.utils.files import atomic_write
from mmie.utils.text import safe_repr, truncate

_ARGUMENTS = {"h", "t", "relation"}
"""Keys of a relation in MNRE and OpenNRE."""
_HEAD_RECORDS = 1000
"""Most records by which keys are found."""


@dataclass(frozen=True, slots=True)
class _KeyLayout:
    """Keys of a file's records.

    Attributes:
        parts: Keys by the part of a post.
        names: Names of tags in the order of their ids.
        bare: Whether tags are types without prefixes.
        in_words: Whether spans of records with words and a text count words.
    """

    parts: Mapping[str, str]
    names: Sequence[str]
    bare: bool
    in_words: bool


class JsonLists(Format):
    """JSON arrays or lines with the keys of other programs."""

    name = "json"
    description = "JSON array or lines of records with tokens and ner_tags, spans or entities; MNRE"
    suffixes = (".json",)

    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether a file is a JSON array of objects, or its first line is an object."""
        start = head.lstrip()[:1]
        if start not in ("[", "{"):
            return False
        if start == "{" and path.suffix.lower() != ".json":
            return isinstance(first_json_line(head) or _literal(head.split("\n")[0]), dict)
        return start == "{" or head.lstrip()[1:].lstrip()[:1] in ("{", "]")

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record for each object of the array, or for each line.

        Raises:
            FormatError: The file is no JSON, or has neither words nor a text.
        """
        text = read_text(path)
        items = _parse_items(path, text, options.split, notes)
        if undecodable(text) is not None:
            items = list(map(_with_fault, items))
        layout = _find_layout(path, [item for _, item in items], options)
        notes.found.append(describe_parts(layout.parts, "key"))
        unused: Counter[str] = Counter()
        pictures = PictureFinder(options.pictures or path.parent, options.pictures is None)
        for place, item in items:
            try:
                record = _to_record(item, layout, unused)
            except MalformedLine as error:
                yield BadPost.of(place, error, id_of(item, layout.parts.get("id", "id")))
                continue
            yield pictures.resolve(record)
        notes.unused.update({f"key '{key}'": count for key, count in unused.items()})

    def write(self, records: Iterable[Record], path: Path, notes: Notes) -> None:
        """Write an array of all records, with the keys of mmie's JSON lines."""

        def write(partial: Path) -> None:
            with partial.open("w", encoding="utf-8", errors="replace") as stream:
                separator = ""
                stream.write("[")
                for record in records:
                    stream.write(f"{separator}\n{json.dumps(record, ensure_ascii=False)}")
                    separator = ","
                stream.write("\n]\n" if separator else "]\n")

        atomic_write(path, write)


def _with_fault(item: tuple[str, object]) -> tuple[str, object]:
    """Return a record, or a `MalformedLine` in its place if its bytes are no text."""
    place, value = item
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    bad = undecodable(text)
    return place, value if bad is None else MalformedLine("UTF-8 text", bad, kind="encoding")


def _parse_items(
    path: Path, text: str, split: str | None, notes: Notes
) -> list[tuple[str, object]]:
    """Return the records of a text with their places.

    Raises:
        FormatError: The text is no JSON.
    """
    try:
        value = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        items = _line_items(text)
        if not any(isinstance(item, dict) for _, item in items):
            raise FormatError(f"{path}: expected JSON, found {error}") from None
        return items
    if isinstance(value, dict):
        value = _array_of(value, split, notes)
    if not isinstance(value, list):
        raise FormatError(
            f"{path}: expected a JSON array of objects, found {safe_repr(value)[:80]}"
        )
    return [(f"record {number}", item) for number, item in enumerate(value, start=1)]


def _array_of(value: Record, split: str | None, notes: Notes) -> Sequence[object]:
    """Return the array of a split in an object, its only array, or the object as the only record.

    Args:
        value: The object.
        split: Key of the array; None takes the only array.
        notes: Receives the key.
    """
    keys = [key for key, item in value.items() if isinstance(item, list)]
    if split is not None:
        keys = [key for key in keys if key == split]
    if len(keys) == 1:
        records: Any = value[keys[0]]
        if any(isinstance(item, dict) for item in records):
            notes.found.append(f"records in key '{keys[0]}'")
            return list(records)
    return [value]


def _line_items(text: str) -> list[tuple[str, object]]:
    """Return the value of each line that is not blank: JSON, or a Python literal."""
    items: list[tuple[str, object]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not is_blank(line):
            value: object = None
            try:
                value = json.loads(line, object_pairs_hook=unique_keys)
            except MalformedLine as error:
                value = error
            except (ValueError, RecursionError):
                value = _literal(line)
            items.append((f"line {number}", line if value is None else value))
    return items


def _literal(line: str) -> Any:
    """Return the dictionary that a line spells in Python, or None."""
    return parse_literal(line) if line.lstrip().startswith("{") else None


def _find_layout(path: Path, items: Sequence[object], options: ReadOptions) -> _KeyLayout:
    """Find the keys of the parts of a post.

    Raises:
        FormatError: No key holds words or a text, or no record can be read.
    """
    objects = [item for item in items if isinstance(item, dict)][:_HEAD_RECORDS]
    keys = dict.fromkeys(key for item in objects for key in item if isinstance(key, str))
    parts = find_parts(keys, NAMES, options.columns)
    parts.pop("split", None)
    if not objects and items and isinstance(items[0], MalformedLine):
        raise FormatError(f"{path}: {items[0]}")
    if items and "words" not in parts and "text" not in parts:
        found = truncate(", ".join(keys)) or "none"
        raise FormatError(
            f"{path}: expected a key with words or a text, found {found}: "
            "name one by --columns text=KEY"
        )
    both = "words" in parts and "text" in parts
    if both and "words" not in options.columns and not _hold_texts(parts["words"], objects):
        del parts["words"]  # tokens as objects, as Prodigy writes them
    in_words = "words" in parts and ("text" not in parts or _count_words(objects, parts))
    _choose_labels(parts, objects, set(options.columns))
    tags: list[object] = []
    for item in objects:
        value = item.get(parts["tags"]) if "tags" in parts else None
        if isinstance(value, list):
            tags += value
    return _KeyLayout(parts, options.tag_names, lack_prefixes(tags), in_words)


def _choose_labels(
    parts: dict[str, str], objects: Sequence[Mapping[str, Any]], chosen: set[str]
) -> None:
    """Leave out the key of tags or that of entities, where both may hold the labels.

    Args:
        parts: Keys by the part of a post, which are changed.
        objects: Records of the file.
        chosen: Parts whose keys the user has chosen.
    """
    has_tags = "words" in parts and "tags" in parts and _hold_tags(parts["tags"], objects)
    if "tags" not in chosen and not has_tags:
        parts.pop("tags", None)
    if "tags" in parts and "entities" in parts and "entities" not in chosen:
        del parts["entities"]


def _hold_texts(key: str, objects: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether all records that have a key hold a list of strings under it."""
    for item in objects:
        value = item.get(key, [])
        if not isinstance(value, list) or not set(map(type, value)) <= {str}:
            return False
    return True


def _hold_tags(key: str, objects: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a record holds a list of strings or integers under a key."""
    for item in objects:
        value = item.get(key)
        if isinstance(value, list) and value and set(map(type, value)) <= {str, int}:
            return True
    return False


def _count_words(objects: Sequence[Mapping[str, Any]], parts: Mapping[str, str]) -> bool:
    """Tell whether the spans of records with words and a text fit the words."""
    if "entities" not in parts:
        return True
    for item in objects:
        words, entities = item.get(parts["words"]), item.get(parts["entities"])
        if not isinstance(words, list) or not isinstance(entities, list):
            continue
        for entity in entities:
            end = end_of(entity)
            if end is not None and end > len(words):
                return False
    return True


def _to_record(item: object, layout: _KeyLayout, unused: Counter[str]) -> Record:
    """Return the record of an object.

    Raises:
        MalformedLine: The object lacks words or a text, or its labels are malformed.
    """
    if isinstance(item, MalformedLine):
        raise item
    if not isinstance(item, dict):
        raise MalformedLine("a JSON object", safe_repr(item))
    values = {part: item[key] for part, key in layout.parts.items() if item.get(key) is not None}
    if "words" in values and "text" in values:
        del values["text" if layout.in_words else "words"]
    record: Record = {}
    for part in ("id", "words", "text", *PICTURES, "context"):
        if part in values:
            record[part] = values[part]
    tokens = record.get("text")
    if "words" in record:
        tokens = check_words(record["words"])
    if not isinstance(tokens, str | tuple):
        raise MalformedLine("words or a text", safe_repr(item))
    used = set(layout.parts.values())
    if "relations" not in values and item.keys() >= _ARGUMENTS:
        values["relations"] = [{key: item[key] for key in _ARGUMENTS}]
        used |= _ARGUMENTS
    record |= _read_labels(values, tokens, layout)
    unused.update(map(str, item.keys() - used))
    return record


def _read_labels(
    values: Mapping[str, Any], tokens: str | Sequence[str], layout: _KeyLayout
) -> Record:
    """Return the entities and relations of a record.

    Args:
        values: Values by the part of a post.
        tokens: Text or words of the post.
        layout: Keys of the file.

    Raises:
        MalformedLine: Tags, an entity or a relation are malformed.
    """
    labels: Record = {}
    if "tags" in values:
        if not isinstance(values["tags"], list):
            raise MalformedLine("a list of tags", safe_repr(values["tags"]))
        labels |= read_tags(values["tags"], len(tokens), layout.names, layout.bare)
    if "entities" in values:
        labels["entities"] = read_entities(values["entities"], tokens)
    entities = list_objects(labels, "entities")
    labels["relations"] = read_relations(values.get("relations"), entities)
    return labels
