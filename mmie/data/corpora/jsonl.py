"""JSON lines: the package's own layout, and the one for one's own posts.

``root/{train,valid,test}.jsonl`` hold one post a line::

    {"id": "7", "words": ["Jordan", "lands"], "image": "images/7.jpg", "crops": ["crops/7_0.jpg"],
     "context": "a jet", "entities": [{"start": 0, "end": 1, "type": "PER"}],
     "relations": [{"head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}, "label": "/per/loc/at"}]}

Offsets count words, end exclusive; with ``"text"`` instead of ``"words"`` they count characters. Paths are relative to
the file. All keys but ``id`` and the text may be absent or null. A relation's head and tail may carry a ``type``;
without one they have that of the entity with the same words, if there is one.
"""

import json
import os
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from mmie.data.corpora.base import (
    Corpus,
    CorpusError,
    MalformedLine,
    check_disjoint,
    check_name,
    check_span,
    check_words,
    picture_path,
    shown,
    unique_keys,
)
from mmie.data.words import split_words
from mmie.types import NO_RELATION, Entity, Post, Relation, Split, Task

_T = TypeVar("_T")
_Record = dict[str, object]
_Span = Callable[[_Record, str], tuple[int, int]]
"""Turns a record with ``start`` and ``end`` (and what to call it) into word offsets."""

_KEYS = {"id", "words", "text", "image", "crops", "context", "entities", "relations"}


class JsonlCorpus(Corpus):
    """Posts in JSON lines.

    Args:
        root: Folder of ``{train,valid,test}.jsonl``; its name is the corpus's.
        strict: Whether a malformed line stops the reading, or is skipped.
        max_missing: Largest share of the named pictures that may be missing or unreadable.
        entity_types: Entity types in the order wanted; None takes those of the training split, sorted.
        relation_labels: Relation labels likewise; ``None`` comes first whether given or not.
    """

    def __init__(
        self,
        root: str | Path,
        strict: bool = True,
        max_missing: float = 0.05,
        entity_types: list[str] | None = None,
        relation_labels: list[str] | None = None,
    ) -> None:
        self._given_types = entity_types
        self._given_labels = relation_labels
        self._ignored_keys: set[str] = set()
        super().__init__(root, strict, max_missing)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.root.resolve().name

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks for which there are types or labels, given or in the training split."""
        found: list[Task] = []
        if self.entity_types:
            found.append("ner")
        if self.relation_labels:
            found.append("re")
        return tuple(found)

    @cached_property
    def entity_types(self) -> tuple[str, ...]:
        """Entity types, given or in the training split.

        Raises:
            CorpusError: The training split holds a type that the given ones lack.
        """
        used = {entity.type for post in self._training_posts() for entity in post.entities}
        return self._chosen(self._given_types, used, "entity_types")

    @cached_property
    def relation_labels(self) -> tuple[str, ...]:
        """Relation labels, given or in the training split, ``None`` first; empty if there is none.

        Raises:
            CorpusError: The training split holds a label that the given ones lack.
        """
        used = {relation.label for post in self._training_posts() for relation in post.relations}
        given = None if self._given_labels is None else [NO_RELATION, *self._given_labels]
        chosen = self._chosen(given, used | {NO_RELATION} if used else used, "relation_labels")
        return (NO_RELATION, *(label for label in chosen if label != NO_RELATION)) if chosen else ()

    def posts(self, split: Split) -> list[Post]:
        """The posts of a split; warns, when reading it, of keys it ignores and of types that training does not have."""
        if split in self._posts:
            return self._posts[split]
        posts = super().posts(split)
        if self._ignored_keys:
            keys = ", ".join(sorted(map(repr, self._ignored_keys)))
            warnings.warn(f"{self.text_file(split)}: unknown keys ignored: {keys}", stacklevel=2)
            self._ignored_keys = set()
        if split != "train" and self.tasks:
            self._warn_of_unknown_labels(split, posts)
        return posts

    def _training_posts(self) -> list[Post]:
        return self.posts("train") if "train" in self.splits else []

    def _chosen(self, given: list[str] | None, used: set[str], argument: str) -> tuple[str, ...]:
        """The given names, or else the used ones, sorted."""
        if given is None:
            return tuple(sorted(used))
        if used.difference(given):
            lacking = ", ".join(sorted(used.difference(given)))
            raise CorpusError(
                f"{self.text_file('train')}: {argument} lacks what the training split holds: {lacking}"
            )
        return tuple(dict.fromkeys(given))

    def _warn_of_unknown_labels(self, split: Split, posts: Sequence[Post]) -> None:
        """Say which types and labels of a split no model can predict."""
        types = {entity.type for post in posts for entity in post.entities}.difference(
            self.entity_types
        )
        labels = {relation.label for post in posts for relation in post.relations}.difference(
            self.relation_labels
        )
        if types | labels:
            names = ", ".join(sorted(types | labels))
            warnings.warn(
                f"{self.text_file(split)}: not in training, so never predicted: {names}",
                stacklevel=3,
            )

    def _text_files(self, split: Split) -> Sequence[Path]:
        return [self.root / f"{split}.jsonl"]

    def _to_post(self, split: Split, number: int, lines: list[str]) -> Post:
        record = _parse(lines[0])
        self._ignored_keys |= record.keys() - _KEYS
        return _post(record, self.root)


def parse_post(line: str, root: Path, name: str, ignored: set[str] | None = None) -> Post:
    """The post of a line of one's own, which needs no id.

    Args:
        line: A line as the module describes it; a text without words is a post without words.
        root: Folder that pictures' paths are relative to.
        name: Its id if it has none.
        ignored: Takes the line's unknown keys; None drops them.

    Raises:
        MalformedLine: It is no post.
    """
    record = _parse(line)
    if ignored is not None:
        ignored |= record.keys() - _KEYS
    given = {"id": name, **{key: value for key, value in record.items() if value is not None}}
    if (
        isinstance(given.get("text"), str)
        and "words" not in given
        and not split_words(str(given["text"]))
    ):
        image = _optional(given, "image", str, "a path")
        return Post(
            _id(given),
            text=str(given["text"]),
            image=None if image is None else picture_path(root, image),
        )
    return _post(given, root)


def _post(record: _Record, root: Path) -> Post:
    """The post of a record whose paths are relative to ``root``."""
    words, text, offsets = _words_of(record)
    span = _character_span(text, words, offsets) if text is not None else _word_span(len(words))
    entities = check_disjoint(
        _entity(item, span) for item in _items(record, "entities", dict, "objects")
    )
    types = {(entity.start, entity.end): entity.type for entity in entities}
    relations = [
        _relation(item, span, types) for item in _items(record, "relations", dict, "objects")
    ]
    image = _optional(record, "image", str, "a path")
    return Post(
        id=_id(record),
        words=words,
        image=None if image is None else picture_path(root, image),
        crops=tuple(picture_path(root, crop) for crop in _items(record, "crops", str, "paths")),
        context=_optional(record, "context", str, "a text"),
        entities=entities,
        relations=tuple(relations),
        text=text,
        offsets=offsets,
    )


def post_to_json(post: Post, root: str | Path) -> dict[str, object]:
    """The line that `JsonlCorpus` reads the post from, in the form with words; ``text`` and ``offsets`` are left out.

    Args:
        post: The post.
        root: Folder that the line's file will lie in.

    Raises:
        ValueError: A picture lies outside ``root``.
    """
    types = {(entity.start, entity.end): entity.type for entity in post.entities}
    line: dict[str, object] = {
        "id": post.id,
        "words": list(post.words),
        "image": None if post.image is None else _relative(post.image, root),
        "crops": [_relative(crop, root) for crop in post.crops],
        "context": post.context,
        "entities": [
            {"start": entity.start, "end": entity.end, "type": entity.type}
            for entity in post.entities
        ],
        "relations": [
            {
                "head": _span_to_json(relation.head, types),
                "tail": _span_to_json(relation.tail, types),
                "label": relation.label,
            }
            for relation in post.relations
        ],
    }
    return {key: value for key, value in line.items() if value is not None and value != []}


def _parse(line: str) -> _Record:
    try:
        record = json.loads(line, object_pairs_hook=unique_keys)
    except MalformedLine:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedLine("a JSON object", f"{line!r} ({error})") from None
    if not isinstance(record, dict):
        raise MalformedLine("a JSON object", shown(record))
    return record


def _id(record: _Record) -> str:
    value = record.get("id")
    return check_name(
        str(value) if type(value) is int else value, "'id' to be a string or an integer"
    )


def _optional(record: _Record, key: str, kind: type[_T], description: str) -> _T | None:
    """The value of a key that may be absent or null."""
    value = record.get(key)
    if value is not None and not isinstance(value, kind):
        raise MalformedLine(f"{key!r} to be {description}", shown(value))
    return value


def _items(record: _Record, key: str, kind: type[_T], description: str) -> list[_T]:
    """The list of a key that may be absent or null."""
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise MalformedLine(f"{key!r} to be a list of {description}", shown(value))
    return value


def _words_of(record: _Record) -> tuple[tuple[str, ...], str | None, tuple[tuple[int, int], ...]]:
    """Words, and the text and offsets that they come from, if they do."""
    text = _optional(record, "text", str, "a string")
    if (text is None) == (record.get("words") is None):
        raise MalformedLine("either 'words' or 'text'", "neither" if text is None else "both")
    if text is None:
        return check_words(record["words"]), None, ()
    pieces = split_words(text)
    words = check_words([word for word, _, _ in pieces])
    return words, text, tuple((start, end) for _, start, end in pieces)


def _word_span(length: int) -> _Span:
    """Reads offsets that count words."""
    return lambda record, what: check_span(record.get("start"), record.get("end"), length, what)


def _character_span(text: str, words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> _Span:
    """Reads offsets that count characters of the text."""
    first = {start: position for position, (start, _) in enumerate(offsets)}
    last = {end: position + 1 for position, (_, end) in enumerate(offsets)}

    def span(record: _Record, what: str) -> tuple[int, int]:
        start, end = check_span(record.get("start"), record.get("end"), len(text), what)
        if start in first and end in last:
            return first[start], last[end]
        wrong = start if start not in first else end
        nearest = min(
            range(len(words)),
            key=lambda i: min(abs(offsets[i][0] - wrong), abs(offsets[i][1] - wrong)),
        )
        raise MalformedLine(
            f"{what} to start and end where words do",
            f"characters {start} to {end}, {text[start:end]!r}; "
            f"the nearest word is {words[nearest]!r}, {offsets[nearest][0]} to {offsets[nearest][1]}",
        )

    return span


def _entity(record: _Record, span: _Span) -> Entity:
    kind = check_name(record.get("type"), "an entity with a 'type'")
    return Entity(*span(record, f"an entity {kind}"), kind)


def _relation(record: _Record, span: _Span, types: dict[tuple[int, int], str]) -> Relation:
    label = check_name(record.get("label"), "a relation with a 'label'")
    return Relation(
        _argument(record, "head", span, types), _argument(record, "tail", span, types), label
    )


def _argument(record: _Record, key: str, span: _Span, types: dict[tuple[int, int], str]) -> Entity:
    """Head or tail of a relation, with the type it says or else that of the entity with the same words."""
    argument = record.get(key)
    if not isinstance(argument, dict):
        raise MalformedLine(f"a relation with a {key!r}", shown(record))
    start, end = span(argument, f"the {key} of a relation")
    kind = argument.get("type")
    if kind in (None, ""):
        return Entity(start, end, types.get((start, end), "") if kind is None else "")
    return Entity(start, end, check_name(kind, f"the {key}'s 'type' to be a string"))


def _span_to_json(entity: Entity, types: dict[tuple[int, int], str]) -> dict[str, object]:
    """Head or tail of a relation; the type is left out where reading finds it."""
    place: dict[str, object] = {"start": entity.start, "end": entity.end}
    return (
        place
        if types.get((entity.start, entity.end), "") == entity.type
        else {**place, "type": entity.type}
    )


def _relative(path: Path, root: str | Path) -> str:
    """The path as seen from ``root``, with forward slashes."""
    relative = Path(os.path.relpath(path, root))
    if ".." in relative.parts:
        raise ValueError(
            f"{path}: expected a picture inside {root}, where the line's file will lie"
        )
    return relative.as_posix()
