"""Extractions as text: JSON lines, CoNLL, and triples.

A JSON line is a post that `mmie.data.JsonlCorpus` reads, so that the results of one model can train
another one.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmie.data.words import split_words
from mmie.tags import OUTSIDE, entities_to_tags
from mmie.types import Entity, Extraction, Mention, MmieError, TagScheme, Triple
from mmie.utils.text import truncate


class FormatError(MmieError, ValueError):
    """A line that is no extraction, or an extraction that a format cannot express."""


def to_json(extraction: Extraction) -> dict[str, Any]:
    """Convert an extraction to plain values, with offsets that count characters."""
    entities = []
    for mention in extraction.entities:
        entities.append({**_mention_to_json(mention), "probability": mention.probability})
    relations = []
    for triple in extraction.relations:
        relations.append(
            {
                "head": _mention_to_json(triple.head),
                "label": triple.label,
                "tail": _mention_to_json(triple.tail),
                "probability": triple.probability,
            }
        )
    record: dict[str, Any] = {
        "id": extraction.id,
        "text": extraction.text,
        "entities": entities,
        "relations": relations,
    }
    if extraction.problems:
        record["problems"] = list(extraction.problems)
    return record


def from_json(record: Mapping[str, Any]) -> Extraction:
    """Convert a record of `to_json` to an extraction.

    The record lacks the words: ``offsets`` are those of the text as the package splits it.

    Raises:
        FormatError: The record is no extraction.
    """
    try:
        text = record["text"]
        problems = tuple(record.get("problems") or ())
        mentions = []
        known = {}
        for entity in record["entities"]:
            mention = _parse_mention(text, entity, entity["probability"])
            mentions.append(mention)
            known[mention.start, mention.end, mention.type] = mention
        triples = [_parse_triple(text, triple, known) for triple in record["relations"]]
        strings = [record["id"], text, *problems, *(triple.label for triple in triples)]
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
    offsets = tuple((start, end) for _, start, end in split_words(text))
    return Extraction(record["id"], text, offsets, tuple(mentions), tuple(triples), problems)


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

    `mmie.data.Twitter2017` reads them as a post without picture.

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
    lines = [f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True)]
    return "\n".join([f"IMGID:{extraction.id}", *lines, "", ""])


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


def _mention_to_json(mention: Mention) -> dict[str, Any]:
    """Convert a mention, without its probability, to plain values."""
    return {"text": mention.text, "type": mention.type, "start": mention.start, "end": mention.end}


def _parse_mention(text: str, record: Mapping[str, Any], probability: float) -> Mention:
    """Convert a record to a mention of a text.

    Raises:
        ValueError: The mention lies outside the text or has no type, or the probability is none.
    """
    start, end, entity_type = record["start"], record["end"], record["type"]
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise ValueError(f"a mention from {start!r} to {end!r} of a text of {len(text)} characters")
    if not isinstance(entity_type, str):
        raise ValueError(f"a mention of type {entity_type!r}")
    return Mention(text[start:end], entity_type, start, end, _parse_probability(probability))


def _parse_triple(
    text: str, record: Mapping[str, Any], known: Mapping[tuple[int, int, str], Mention]
) -> Triple:
    """Convert a record to a triple.

    Args:
        text: The text of the post.
        record: The record.
        known: Mentions of the post by start, end and type. A head or tail that is none of them was
            given with the post and is certain.

    Raises:
        ValueError: The head or tail lies outside the text, or the probability is none.
    """
    head = _parse_mention(text, record["head"], 1.0)
    tail = _parse_mention(text, record["tail"], 1.0)
    return Triple(
        known.get((head.start, head.end, head.type), head),
        record["label"],
        known.get((tail.start, tail.end, tail.type), tail),
        _parse_probability(record["probability"]),
    )


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
