"""The JSON form of predictions: posts in the layout of `JsonlCorpus`, with probabilities.

`mmie test`, `mmie extract` and the server write it. A line is a post with ``words``, whose offsets
count words, or with ``text``, whose offsets count characters::

    {"id": "7", "text": "Jordan lands",
     "entities": [{"text": "Jordan", "type": "PER", "start": 0, "end": 6, "probability": 0.9}],
     "relations": [{"head": {"text": "Jordan", "type": "PER", "start": 0, "end": 6},
                    "label": "/per/loc/at", "tail": {...}, "probability": 0.8}]}
"""

from typing import Any


def span_record(text: str, type: str, start: int, end: int) -> dict[str, Any]:
    """Return the record of a span: its text, its type, and its offsets, end exclusive."""
    return {"text": text, "type": type, "start": start, "end": end}


def entity_record(span: dict[str, Any], probability: float) -> dict[str, Any]:
    """Return the record of an entity with its probability."""
    return {**span, "probability": probability}


def relation_record(
    head: dict[str, Any], label: str, tail: dict[str, Any], probability: float
) -> dict[str, Any]:
    """Return the record of a relation between two spans with its probability."""
    return {"head": head, "label": label, "tail": tail, "probability": probability}
