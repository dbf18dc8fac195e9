"""Choice of the entity pairs that a relation classifier is asked about."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from itertools import islice

from mmie.types import NO_RELATION, Entity, Relation

_TYPED_LABEL = re.compile(r"/(\w+)/(\w+)/.+")
"""A label that names the types of head and tail, as MNRE's do: ``/per/loc/place_of_birth``."""


def plausible_pairs(
    entities: Sequence[Entity], labels: Sequence[str], limit: int | None = None
) -> tuple[tuple[Relation, ...], int]:
    """Pair the entities of a post whose types some relation label allows.

    Pairs are ordered, and head and tail differ. If a label names no types, all pairs are allowed.

    Args:
        entities: Entities of one post; an entity without a type fits any label.
        labels: The relation labels of the model.
        limit: Largest number of pairs to return; None returns all.

    Returns:
        The first ``limit`` pairs, and the number of all pairs, which are counted without making
        them: thousands of entities have millions of pairs.

    >>> ann, rome, acme = Entity(0, 1, "PER"), Entity(2, 3, "LOC"), Entity(4, 5, "ORG")
    >>> pairs, count = plausible_pairs([ann, rome, acme], ["None", "/per/loc/home"])
    >>> [(pair.head.type, pair.tail.type) for pair in pairs], count
    ([('PER', 'LOC')], 1)
    >>> plausible_pairs([ann, rome, acme], ["None", "knows"], 0)
    ((), 6)
    """
    type_counts = Counter(entity.type.lower() for entity in entities)
    tail_types = _tail_types(type_counts.keys(), _typed_pairs(labels))
    num_pairs = 0
    for head, tails in tail_types.items():
        for tail in tails:
            # An entity is not paired with itself.
            num_pairs += type_counts[head] * (type_counts[tail] - (head == tail))
    return tuple(islice(_pairs(entities, tail_types), limit)), num_pairs


def _pairs(entities: Sequence[Entity], tail_types: dict[str, set[str]]) -> Iterator[Relation]:
    """Yield the allowed pairs in the order of their heads, then of their tails."""
    types = [entity.type.lower() for entity in entities]
    for head_index, head in enumerate(entities):
        allowed = tail_types[types[head_index]]
        if not allowed:
            continue
        for tail_index, tail in enumerate(entities):
            if tail_index != head_index and types[tail_index] in allowed:
                yield Relation(head, tail, NO_RELATION)


def _tail_types(types: Set[str], allowed: set[tuple[str, str]] | None) -> dict[str, set[str]]:
    """Map each type of a head to the types that its tail may have.

    Args:
        types: Types of the post's entities in lower case; "" is unknown and fits any label.
        allowed: Types of head and tail that labels name; None allows all.
    """
    if allowed is None:
        return {head: set(types) for head in types}
    tail_types: dict[str, set[str]] = {head: set() for head in types}
    for head in types:
        for tail in types:
            if not head or not tail or (head, tail) in allowed:
                tail_types[head].add(tail)
    return tail_types


def _typed_pairs(labels: Sequence[str]) -> set[tuple[str, str]] | None:
    """Collect the types of head and tail that labels name, in lower case.

    Returns:
        The pairs of types; None if a label names no types.
    """
    pairs = set()
    for label in labels:
        if label == NO_RELATION:
            continue
        match = _TYPED_LABEL.fullmatch(label)
        if match is None:
            return None
        pairs.add((match[1].lower(), match[2].lower()))
    return pairs
