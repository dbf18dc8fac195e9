"""Posts as JSON objects: the package's own format, also for one's own posts.

A post is an object like::

    {"id": "7", "words": ["Jordan", "lands"], "image": "images/7.jpg",
     "crops": ["crops/7_0.jpg"], "context": "a jet",
     "entities": [{"start": 0, "end": 1, "type": "PER"}],
     "relations": [{"head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2},
                    "label": "/per/loc/at"}]}

Offsets count words, end exclusive. With ``"text"`` they count characters, also if there are
``"words"`` beside it, which then tell how the text is split. All keys but ``id`` and the text may
be absent or null. Several pictures are a list of paths, ``"images"``. Beside it, ``"image"`` is the
first picture, which the list may repeat. The head and tail of a relation may have a ``type``.
Without one they have the type of the entity with the same words, if there is one.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from mmie.data.parsing import (
    MalformedLine,
    Record,
    check_disjoint,
    check_name,
    list_value,
    optional_value,
    picture_path,
    unique_keys,
)
from mmie.data.post_text import PostText
from mmie.data.words import split_words
from mmie.types import Entity, Post, Relation
from mmie.utils.text import safe_repr

_MAX_DEPTH = 100
"""Deepest nesting of values that are not read. Encoders of JSON recurse."""
_TypesBySpan = Mapping[tuple[int, int], str]
"""Entity types by their first and last (exclusive) word."""

KEYS = {"id", "words", "text", "image", "images", "crops", "context", "entities", "relations"}
"""Keys of a post."""
RESULT_KEYS = {"problems", "gold_entities", "gold_relations"}
"""Keys that `mmie extract` adds to a post, of which readers do not warn."""


def parse_record(line: str) -> Record:
    """Parse the JSON object of a line.

    Raises:
        MalformedLine: The line is not a JSON object, or repeats a key.
    """
    try:
        record = json.loads(line, object_pairs_hook=unique_keys)
    except MalformedLine:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedLine("a JSON object", f"{line!r} ({error})", kind="json") from None
    if not isinstance(record, dict):
        raise MalformedLine("a JSON object", safe_repr(record), kind="json")
    return record


def parse_post(line: str, root: Path, name: str, ignored: set[str] | None = None) -> Post:
    """Parse a line of one's own posts, which need neither an id nor words.

    Args:
        line: A line as the module describes it.
        root: Folder that pictures' paths are relative to.
        name: Id of the post if the line has none.
        ignored: Set to which the line's unknown keys are added; None names them nowhere.

    Raises:
        MalformedLine: The line does not follow the format.
    """
    record = parse_record(line)
    if ignored is not None:
        ignored |= unknown_keys(record)
    given = {key: value for key, value in record.items() if value is not None or key not in KEYS}
    given.setdefault("id", name)
    text = given.get("text")
    if isinstance(text, str) and "words" not in given and not split_words(text):
        image, more_images = _parse_images(given, root)
        return Post(
            _parse_id(given),
            text=text,
            image=image,
            context=optional_value(given, "context", str, "a text"),
            extra=_extra(record),
            more_images=more_images,
        )
    return post_from_json(given, root)


def unknown_keys(record: Record) -> set[str]:
    """Return the keys of an object that are neither those of a post nor those of a result."""
    return record.keys() - KEYS - RESULT_KEYS


def post_from_json(record: Record, root: Path) -> Post:
    """Build the post of a JSON object.

    Args:
        record: An object as the module describes it.
        root: Folder that pictures' paths are relative to.

    Raises:
        MalformedLine: The object does not follow the format.
    """
    text = PostText.from_record(record)
    entity_records = list_value(record, "entities", dict, "objects")
    entities = check_disjoint(map(text.parse_entity, entity_records))
    types = _types_by_span(entities)
    relation_records = list_value(record, "relations", dict, "objects")
    relations = [_parse_relation(item, text, types) for item in relation_records]
    image, more_images = _parse_images(record, root)
    name = _parse_id(record)
    crops = [picture_path(root, crop) for crop in list_value(record, "crops", str, "paths")]
    return Post(
        id=name,
        words=text.words,
        image=image,
        crops=tuple(crops),
        context=optional_value(record, "context", str, "a text"),
        entities=entities,
        relations=tuple(relations),
        text=text.text,
        offsets=text.offsets,
        extra=_extra(record),
        more_images=more_images,
    )


def post_to_json(post: Post, root: str | Path) -> Record:
    """Convert a post to the object that `post_from_json` builds it from.

    The object has ``words``. The post's ``text`` and ``offsets`` are left out. Its further keys
    follow, unless they are those of a post.

    Args:
        post: The post.
        root: Folder of the file that the object is written to.

    Raises:
        ValueError: A picture lies outside ``root``.
    """
    types = _types_by_span(post.entities)
    entities = [_span_to_json(entity) | {"type": entity.type} for entity in post.entities]
    images = [_relative_path(image, root) for image in post.images]
    record: Record = {
        "id": post.id,
        "words": list(post.words),
        "image": images[0] if len(images) == 1 else None,
        "images": images if len(images) > 1 else None,
        "crops": [_relative_path(crop, root) for crop in post.crops],
        "context": post.context,
        "entities": entities,
        "relations": [_relation_to_json(relation, types) for relation in post.relations],
    }
    record = {key: value for key, value in record.items() if value is not None and value != []}
    further = {key: value for key, value in post.extra.items() if key not in KEYS}
    return {**record, **further}


def _extra(record: Record) -> Record:
    """Return the part of an object that is not read.

    Raises:
        MalformedLine: A value is nested so deeply that it cannot be written again.
    """
    extra = {key: value for key, value in record.items() if key not in KEYS}
    for key, value in extra.items():
        if _depth_exceeds(value, _MAX_DEPTH):
            raise MalformedLine(f"{key!r} to be nested at most {_MAX_DEPTH} deep", "more")
    return extra


def _depth_exceeds(value: object, depth: int) -> bool:
    """Tell whether lists and objects are nested more than ``depth`` deep."""
    level = [value]
    for _ in range(depth + 1):
        deeper: list[object] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        if not deeper:
            return False
        level = deeper
    return True


def _parse_id(record: Record) -> str:
    """Read the id of a post.

    Raises:
        MalformedLine: The id is neither a string nor an integer, or is empty.
    """
    value = record.get("id")
    if type(value) is int:
        value = str(value)
    return check_name(value, "'id' to be a string or an integer")


def _parse_images(record: Record, root: Path) -> tuple[Path | None, tuple[Path, ...]]:
    """Read the paths of the pictures: that of ``image``, then those of ``images``, each once.

    Returns:
        The first path, None without pictures, and the others.

    Raises:
        MalformedLine: A path is not a string, or leads out of ``root``.
    """
    image = optional_value(record, "image", str, "a path")
    names = [] if image is None else [image]
    names += list_value(record, "images", str, "paths")
    paths = [picture_path(root, name) for name in dict.fromkeys(names)]
    return (paths[0] if paths else None), tuple(paths[1:])


def _parse_relation(record: Record, text: PostText, types: _TypesBySpan) -> Relation:
    """Read a relation.

    Raises:
        MalformedLine: The label, head or tail is missing, or a span does not fit the words.
    """
    label = check_name(record.get("label"), "a relation with a 'label'")
    head = _parse_argument(record, "head", text, types)
    tail = _parse_argument(record, "tail", text, types)
    return Relation(head, tail, label)


def _parse_argument(record: Record, key: str, text: PostText, types: _TypesBySpan) -> Entity:
    """Read the head or tail of a relation.

    Args:
        record: The relation.
        key: ``head`` or ``tail``.
        text: Words of the post.
        types: Types of the post's entities, for an argument without a type.

    Raises:
        MalformedLine: The argument is missing, or its span or type does not follow the format.
    """
    argument = record.get(key)
    if not isinstance(argument, dict):
        raise MalformedLine(f"a relation with a {key!r}", safe_repr(record))
    start, end = text.parse_span(argument, f"the {key} of a relation")
    kind = argument.get("type")
    if kind is None:
        return Entity(start, end, types.get((start, end), ""))
    if kind == "":
        return Entity(start, end)
    return Entity(start, end, check_name(kind, f"the {key}'s 'type' to be a string"))


def _types_by_span(entities: tuple[Entity, ...]) -> dict[tuple[int, int], str]:
    """Map the words of entities to their types."""
    return {(entity.start, entity.end): entity.type for entity in entities}


def _relation_to_json(relation: Relation, types: _TypesBySpan) -> Record:
    """Convert a relation, without the types that reading takes from the entities."""
    record: Record = {}
    for key, argument in (("head", relation.head), ("tail", relation.tail)):
        span = _span_to_json(argument)
        if types.get((argument.start, argument.end), "") != argument.type:
            span["type"] = argument.type
        record[key] = span
    return {**record, "label": relation.label}


def _span_to_json(entity: Entity) -> Record:
    """Convert the words of an entity."""
    return {"start": entity.start, "end": entity.end}


def _relative_path(path: Path, root: str | Path) -> str:
    """Return a path relative to ``root`` with forward slashes.

    Raises:
        ValueError: The path leads out of ``root``.
    """
    relative = Path(os.path.relpath(path, root))
    if ".." in relative.parts:
        raise ValueError(
            f"{path}: expected a picture inside {root}, where the line's file will lie"
        )
    return relative.as_posix()
