"""What was found in posts, as text: JSON lines, CoNLL, and CSV of triples.

A line of JSON is a post that `mmie.data.JsonlCorpus` reads: what one model found can train another.
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
    """A line that does not hold what was found in a post."""


def to_json(extraction: Extraction) -> dict[str, Any]:
    """What was found in a post, in plain values; offsets count characters."""
    line: dict[str, Any] = {
        "id": extraction.id,
        "text": extraction.text,
        "entities": [
            {**_place(mention), "probability": mention.probability}
            for mention in extraction.entities
        ],
        "relations": [
            {
                "head": _place(triple.head),
                "label": triple.label,
                "tail": _place(triple.tail),
                "probability": triple.probability,
            }
            for triple in extraction.relations
        ],
    }
    return {**line, "problems": list(extraction.problems)} if extraction.problems else line


def from_json(line: Mapping[str, Any]) -> Extraction:
    """What `to_json` was given.

    Where the words stood is not in the line: ``offsets`` are those of the text as the package splits it.

    Raises:
        FormatError: The line says something else.
    """
    try:
        text, problems = line["text"], line.get("problems") or ()
        mentions = [_mention(text, record, record["probability"]) for record in line["entities"]]
        known = {(mention.start, mention.end, mention.type): mention for mention in mentions}
        triples = [_triple(text, record, known) for record in line["relations"]]
        names = (line["id"], text, *problems, *(triple.label for triple in triples))
    except KeyError as error:
        raise FormatError(
            f"expected a post with what was found in it: {error} is missing"
        ) from None
    except (TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"expected a post with what was found in it: {truncate(str(error))}"
        ) from None
    if not all(isinstance(name, str) for name in names):
        raise FormatError("expected strings for id, text, labels and problems")
    offsets = tuple((start, end) for _, start, end in split_words(text))
    return Extraction(line["id"], text, offsets, tuple(mentions), tuple(triples), tuple(problems))


def read_jsonl(file: str | Path) -> Iterator[Extraction]:
    """What a file of `to_json`'s lines holds, a line at a time; blank lines are left out.

    Raises:
        FormatError: A line holds something else; it is named.
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
    """A line ``word<TAB>tag`` for every word, and a blank one; as `mmie.data.Twitter2017` reads it, without picture.

    Raises:
        FormatError: A mention starts or ends within a word, or two share one: tags cannot say that.
    """
    words = [extraction.text[start:end] for start, end in extraction.offsets]
    entities = [_entity(extraction, mention) for mention in extraction.entities]
    try:
        tags = entities_to_tags(entities, len(words), scheme)
    except ValueError as error:
        raise FormatError(f"post {truncate(extraction.id)}: {truncate(str(error))}") from None
    lines = [f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True)]
    return "\n".join([f"IMGID:{extraction.id}", *lines, "", ""])


def to_triples(extraction: Extraction) -> list[dict[str, Any]]:
    """A row for every relation: who, what, whom, and where it was said."""
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


def _place(mention: Mention) -> dict[str, Any]:
    return {"text": mention.text, "type": mention.type, "start": mention.start, "end": mention.end}


def _mention(text: str, record: Mapping[str, Any], probability: float) -> Mention:
    """The mention of a line's record.

    Raises:
        ValueError: It lies outside the text, has no type, or its probability is none.
    """
    start, end, kind = record["start"], record["end"], record["type"]
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise ValueError(f"a mention from {start!r} to {end!r} of a text of {len(text)} characters")
    if not isinstance(kind, str):
        raise ValueError(f"a mention of type {kind!r}")
    return Mention(text[start:end], kind, start, end, _probability(probability))


def _triple(
    text: str, record: Mapping[str, Any], known: Mapping[tuple[int, int, str], Mention]
) -> Triple:
    """The relation of a line's record; one that no mention of the line stands for is certain, as one that was given."""
    ends = (_mention(text, record[name], 1.0) for name in ("head", "tail"))
    head, tail = (known.get((end.start, end.end, end.type), end) for end in ends)
    return Triple(head, record["label"], tail, _probability(record["probability"]))


def _probability(value: float) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"a probability of {value!r}")
    return float(value)


def _entity(extraction: Extraction, mention: Mention) -> Entity:
    """A mention by its words.

    Raises:
        FormatError: It starts or ends where no word does.
    """
    starts, ends = zip(*extraction.offsets, strict=True) if extraction.offsets else ((), ())
    if mention.start not in starts or mention.end not in ends:
        raise FormatError(
            f"post {truncate(extraction.id)}: '{truncate(mention.text)}' starts or ends where no word does"
        )
    return Entity(starts.index(mention.start), ends.index(mention.end) + 1, mention.type or OUTSIDE)
