"""Which pairs of entities may stand in a relation."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from mmie.types import NO_RELATION, Entity, Relation

_TYPED = re.compile(r"/(\w+)/(\w+)/.+")
"""A label that names the types of head and tail, as MNRE's do: ``/per/loc/place_of_birth``."""


def plausible_pairs(
    entities: Sequence[Entity], labels: Sequence[str], most: int | None = None
) -> tuple[tuple[Relation, ...], int]:
    """Ordered pairs of different entities to ask about; where labels name types, those of types that one names.

    Args:
        entities: Entities of one post; one without a type fits any.
        labels: The relation labels that the model knows.
        most: Pairs to give; None gives all.

    Returns:
        The first ``most`` pairs, and how many there are: of thousands of entities there are millions.

    >>> ann, rome, acme = Entity(0, 1, "PER"), Entity(2, 3, "LOC"), Entity(4, 5, "ORG")
    >>> pairs, count = plausible_pairs([ann, rome, acme], ["None", "/per/loc/home"])
    >>> [(pair.head.type, pair.tail.type) for pair in pairs], count
    ([('PER', 'LOC')], 1)
    >>> plausible_pairs([ann, rome, acme], ["None", "knows"], 0)
    ((), 6)
    """
    types = [entity.type.lower() for entity in entities]
    counts = Counter(types)
    partners = _partners(set(counts), _typed_pairs(labels))
    total = sum(
        counts[head] * (counts[tail] - (head == tail)) for head in counts for tail in partners[head]
    )
    pairs = (
        Relation(head, tail, NO_RELATION)
        for first, head in enumerate(entities)
        if partners[types[first]]
        for second, tail in enumerate(entities)
        if first != second and types[second] in partners[types[first]]
    )
    return tuple(islice(pairs, most)), total


def _partners(types: set[str], allowed: set[tuple[str, str]] | None) -> dict[str, set[str]]:
    """For each type of a head the types that its tail may have."""
    return {
        head: {
            tail
            for tail in types
            if allowed is None or not (head and tail) or (head, tail) in allowed
        }
        for head in types
    }


def _typed_pairs(labels: Sequence[str]) -> set[tuple[str, str]] | None:
    """Types of head and tail that the labels name, in lower case; None if some label names none."""
    matches = [_TYPED.fullmatch(label) for label in labels if label != NO_RELATION]
    if not all(matches):
        return None
    return {(match[1].lower(), match[2].lower()) for match in matches if match}
