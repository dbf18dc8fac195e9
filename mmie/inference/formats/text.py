"""Extractions as text: JSON lines, CoNLL, and triples.

A JSON line is a post that `mmie.data.JsonlCorpus` reads, so that the results of one model can train
another one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mmie.data.post_text import locate_words
from mmie.data.records import entity_record, relation_record, span_record
from mmie.data.words import join_words, split_offsets
from mmie.formats.base import FormatError as FormatError  # part of this module, too
from mmie.tags import OUTSIDE, entities_to_tags
from mmie.types import (
    NO_RELATION,
    Entity,
    Extraction,
    Mention,
    TagScheme,
    Triple,
)
from mmie.utils.text import truncate

_OWN_KEYS = {"id", "text", "entities", "relations", "problems"}
"""Keys of an extraction's record. All others are its ``extra``."""


def to_json(extraction: Extraction) -> dict[str, Any]:
    """Convert an extraction to the JSON form of `mmie.data.records`, with offsets in characters.

    Its further keys follow the text, unless they are those of the form itself.
    """
    further = {key: value for key, value in extraction.extra.items() if key not in _OWN_KEYS}
    entities = [
        entity_record(_span(mention), mention.probability) for mention in extraction.entities
    ]
    relations = [
        relation_record(_span(triple.head), triple.label, _span(triple.tail), triple.probability)
        for triple in extraction.relations
    ]
    record: dict[str, Any] = {"id": extraction.id, "text": extraction.text, **further}
    record |= {"entities": entities, "relations": relations}
    if extraction.problems:
        record["problems"] = list(extraction.problems)
    return record


def from_json(record: Mapping[str, Any]) -> Extraction:
    """Convert a record in the JSON form of `mmie.data.records` to an extraction.

    A record with ``text`` lacks the words: its offsets are those of the text as the package splits
    it, or of its ``words``. A record with ``words`` alone, as in ``predictions.jsonl``, has their
    joined text. A key without a value, as in a row of a table, counts as absent.

    Raises:
        FormatError: The record is no extraction.
    """
    try:
        record = {key: value for key, value in record.items() if value is not None}
        text = _RecordText.of(record)
        problems = tuple(record.get("problems") or ())
        mentions = []
        known = {}
        for entity in record.get("entities", ()) if text.has_words else record["entities"]:
            mention = text.mention(entity, entity["probability"])
            mentions.append(mention)
            known[mention.start, mention.end, mention.type] = mention
        triples = []
        for relation in record.get("relations", ()) if text.has_words else record["relations"]:
            if not (text.has_words and relation["label"] == NO_RELATION):
                triples.append(_parse_triple(text, relation, known))
        strings = [record["id"], text.text, *problems, *(triple.label for triple in triples)]
    except KeyError as error:
        raise FormatError(
            f"expected a post with what was found in it: {error} is missing"
        ) from None
    except (TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"expected a post with what was found in it: {truncate(str(error))}"
        ) from None
    if not all(isinstance(string, str) for string in strings):
        raise FormatError("expected strings for id, text, labels and problems")
    extra = {key: value for key, value in record.items() if key not in _OWN_KEYS}
    return Extraction(
        record["id"], text.text, text.offsets, tuple(mentions), tuple(triples), problems, extra
    )


@dataclass(frozen=True, slots=True)
class _RecordText:
    """Text of a record, and how the record's offsets count in it.

    Attributes:
        text: The text, or the words joined by spaces.
        offsets: First and last (exclusive) character of each word.
        has_words: Whether the record's offsets count words, not characters.
    """

    text: str
    offsets: tuple[tuple[int, int], ...]
    has_words: bool

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Read the text or the words of a record.

        Raises:
            KeyError: The record has neither.
            TypeError: The text or a word is no string.
            ValueError: The text does not consist of the words.
        """
        if "words" not in record:
            return cls(record["text"], split_offsets(record["text"]), False)
        if "text" in record:
            return cls(record["text"], locate_words(record["words"], record["text"]), False)
        return cls(*join_words(record["words"]), True)

    def mention(self, item: Mapping[str, Any], probability: float) -> Mention:
        """Convert an item of the record to a mention.

        Raises:
            ValueError: The item lies outside the text or has no type, or the probability is none.
        """
        start, end, entity_type = item["start"], item["end"], item["type"]
        unit, length = "characters", len(self.text)
        if self.has_words:
            unit, length = "words", len(self.offsets)
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
            raise ValueError(f"a mention from {start!r} to {end!r} of a text of {length} {unit}")
        if not isinstance(entity_type, str):
            raise ValueError(f"a mention of type {entity_type!r}")
        if self.has_words:
            start, end = self.offsets[start][0], self.offsets[end - 1][1]
        probability = _parse_probability(probability)
        return Mention(self.text[start:end], entity_type, start, end, probability)


def read_jsonl(file: str | Path) -> Iterator[Extraction]:
    """Yield the extractions of a file of JSON lines, skipping blank lines.

    Raises:
        FormatError: A line is no extraction; the message names the line.
        OSError: The file cannot be read.
    """
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield from_json(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise FormatError(f"{file}:{number}: {error}") from None


def to_conll(extraction: Extraction, scheme: TagScheme = "bio") -> str:
    """Format an extraction as CoNLL lines ``word<TAB>tag`` and a blank line.

    `mmie.data.Twitter2017` reads them as a post without picture. Tabs and line ends in a word or an
    id are written as in Python.

    Raises:
        FormatError: A mention starts or ends within a word, or two mentions share a word, which
            tags cannot express.
    """
    words = [extraction.text[start:end] for start, end in extraction.offsets]
    entities = [_to_entity(extraction, mention) for mention in extraction.entities]
    try:
        tags = entities_to_tags(entities, len(words), scheme)
    except ValueError as error:
        raise FormatError(f"post {truncate(extraction.id)}: {truncate(str(error))}") from None
    lines = [f"{_escape_field(word)}\t{tag}" for word, tag in zip(words, tags, strict=True)]
    return "\n".join([f"IMGID:{_escape_field(extraction.id)}", *lines, "", ""])


def _escape_field(field: str) -> str:
    r"""Spell out the characters at which the fields and lines of CoNLL end.

    >>> _escape_field("a\nb")
    'a\\nb'
    """
    return field.replace("\t", "\\t").replace("\r", "\\r").replace("\n", "\\n")


def to_triples(extraction: Extraction) -> list[dict[str, Any]]:
    """Convert the relations of an extraction to flat rows of post, head, label and tail."""
    return [
        {
            "post": extraction.id,
            "head": triple.head.text,
            "head_type": triple.head.type,
            "label": triple.label,
            "tail": triple.tail.text,
            "tail_type": triple.tail.type,
            "probability": triple.probability,
        }
        for triple in extraction.relations
    ]


def _span(mention: Mention) -> dict[str, Any]:
    """Return the record of a mention's span."""
    return span_record(mention.text, mention.type, mention.start, mention.end)


def _parse_triple(
    text: _RecordText, item: Mapping[str, Any], known: Mapping[tuple[int, int, str], Mention]
) -> Triple:
    """Convert an item of a record to a triple.

    Args:
        text: The text of the record.
        item: The item.
        known: Predicted mentions of the post by start, end and type. Any other head or tail was
            given with the post, and its probability is 1.

    Raises:
        ValueError: The head or tail lies outside the text, or the probability is not from 0 to 1.
    """
    arguments = {}
    for name in ("head", "tail"):
        mention = text.mention(item[name], probability=1.0)
        key = (mention.start, mention.end, mention.type)
        arguments[name] = known.get(key, mention)
    probability = _parse_probability(item["probability"])
    return Triple(**arguments, label=item["label"], probability=probability)


def _parse_probability(value: float) -> float:
    """Return a value as a probability.

    Raises:
        ValueError: The value is no number from 0 to 1.
    """
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"a probability of {value!r}")
    return float(value)


def _to_entity(extraction: Extraction, mention: Mention) -> Entity:
    """Convert a mention to an entity, which counts words.

    Raises:
        FormatError: The mention starts or ends within a word.
    """
    starts = [start for start, _ in extraction.offsets]
    ends = [end for _, end in extraction.offsets]
    if mention.start not in starts or mention.end not in ends:
        raise FormatError(
            f"post {truncate(extraction.id)}: '{truncate(mention.text)}' "
            "starts or ends where no word does"
        )
    first, last = starts.index(mention.start), ends.index(mention.end)
    return Entity(first, last + 1, mention.type or OUTSIDE)
