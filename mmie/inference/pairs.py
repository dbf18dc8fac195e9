"""Choice of the entity pairs that a relation classifier is asked about."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from itertools import islice

from mmie.types import NO_RELATION, Entity, Relation

_TYPED_LABEL = re.compile(r"/(\w+)/(\w+)/.+")
"""A label that names the types of head and tail, as MNRE's do: ``/per/loc/place_of_birth``."""


def plausible_pairs(
    entities: Sequence[Entity], allowed: set[tuple[str, str]] | None, limit: int | None = None
) -> tuple[tuple[Relation, ...], int]:
    """Pair the entities of a post whose types some relation label allows.

    Pairs are ordered, and head and tail differ.

    Args:
        entities: Entities of one post; an entity without a type fits any label.
        allowed: Types of head and tail that are paired, in lower case; None pairs all.
        limit: Largest number of pairs to return; None returns all.

    Returns:
        The first ``limit`` pairs, and the number of all pairs, which are counted without making
        them: thousands of entities have millions of pairs.

    >>> ann, rome, acme = Entity(0, 1, "PER"), Entity(2, 3, "LOC"), Entity(4, 5, "ORG")
    >>> pairs, count = plausible_pairs([ann, rome, acme], {("per", "loc")})
    >>> [(pair.head.type, pair.tail.type) for pair in pairs], count
    ([('PER', 'LOC')], 1)
    >>> plausible_pairs([ann, rome, acme], None, 0)
    ((), 6)
    """
    type_counts = Counter(entity.type.lower() for entity in entities)
    tails_of = tail_types(type_counts.keys(), allowed)
    num_pairs = 0
    for head, tails in tails_of.items():
        for tail in tails:
            # An entity is not paired with itself.
            num_pairs += type_counts[head] * (type_counts[tail] - (head == tail))
    return tuple(islice(_pairs(entities, tails_of), limit)), num_pairs


def _pairs(entities: Sequence[Entity], tails_of: dict[str, set[str]]) -> Iterator[Relation]:
    """Yield the allowed pairs in the order of their heads, then of their tails."""
    types = [entity.type.lower() for entity in entities]
    for head_index, head in enumerate(entities):
        allowed = tails_of[types[head_index]]
        if not allowed:
            continue
        for tail_index, tail in enumerate(entities):
            if tail_index != head_index and types[tail_index] in allowed:
                yield Relation(head, tail, NO_RELATION)


def tail_types(types: Set[str], allowed: set[tuple[str, str]] | None) -> dict[str, set[str]]:
    """Map each type of a head to the types that its tail may have.

    Args:
        types: Types of the post's entities in lower case; "" is unknown and fits any label.
        allowed: Types of head and tail that are paired; None pairs all.
    """
    if allowed is None:
        return {head: set(types) for head in types}
    tails_of: dict[str, set[str]] = {head: set() for head in types}
    for head in types:
        for tail in types:
            if not head or not tail or (head, tail) in allowed:
                tails_of[head].add(tail)
    return tails_of


def types_in_label(label: str) -> tuple[str, str] | None:
    """Return the types of head and tail that a label names, in lower case, or None.

    >>> types_in_label("/per/LOC/place_of_birth")
    ('per', 'loc')
    """
    match = _TYPED_LABEL.fullmatch(label)
    return None if match is None else (match[1].lower(), match[2].lower())


def typed_pairs(labels: Sequence[str]) -> set[tuple[str, str]] | None:
    """Collect the types of head and tail that labels name, in lower case.

    Returns:
        The pairs of types; None if a label names no types.
    """
    pairs = set()
    for label in labels:
        if label == NO_RELATION:
            continue
        types = types_in_label(label)
        if types is None:
            return None
        pairs.add(types)
    return pairs
