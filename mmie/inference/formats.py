"""What was found in posts, as text: JSON lines, CoNLL, and CSV of triples.

A line of JSON is a post that `mmie.data.JsonlCorpus` reads: what one model found can train another.
"""

from typing import Any

from mmie.tags import OUTSIDE, entities_to_tags
from mmie.types import Entity, Extraction, Mention, TagScheme


def to_json(extraction: Extraction) -> dict[str, Any]:
    """What was found in a post, in plain values; offsets count characters."""
    line: dict[str, Any] = {
        "id": extraction.id,
        "text": extraction.text,
        "entities": [{**_place(mention), "probability": mention.probability} for mention in extraction.entities],
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


def to_conll(extraction: Extraction, scheme: TagScheme = "bio") -> str:
    """A line ``word<TAB>tag`` for every word, and a blank one; as `mmie.data.Twitter2017` reads it, without picture."""
    words = [extraction.text[start:end] for start, end in extraction.offsets]
    entities = [_entity(extraction, mention) for mention in extraction.entities]
    tags = entities_to_tags(entities, len(words), scheme)
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


def _entity(extraction: Extraction, mention: Mention) -> Entity:
    """A mention by its words."""
    first = next(place for place, (start, _) in enumerate(extraction.offsets) if start == mention.start)
    last = next(place for place, (_, end) in enumerate(extraction.offsets) if end == mention.end)
    return Entity(first, last + 1, mention.type or OUTSIDE)
