"""Which pairs of entities may stand in a relation."""

import re
from collections.abc import Sequence
from itertools import permutations

from mmie.types import NO_RELATION, Entity, Relation

_TYPED = re.compile(r"/(\w+)/(\w+)/.+")
"""A label that names the types of head and tail, as MNRE's do: ``/per/loc/place_of_birth``."""


def plausible_pairs(entities: Sequence[Entity], labels: Sequence[str]) -> tuple[Relation, ...]:
    """All ordered pairs of different entities to ask about; where labels name types, those of types that one names.

    Args:
        entities: Entities of one post; one without a type fits any.
        labels: The relation labels that the model knows.

    >>> ann, rome, acme = Entity(0, 1, "PER"), Entity(2, 3, "LOC"), Entity(4, 5, "ORG")
    >>> [(pair.head.type, pair.tail.type) for pair in plausible_pairs([ann, rome, acme], ["None", "/per/loc/home"])]
    [('PER', 'LOC')]
    >>> len(plausible_pairs([ann, rome, acme], ["None", "knows"]))
    6
    """
    allowed = _typed_pairs(labels)
    return tuple(
        Relation(head, tail, NO_RELATION)
        for head, tail in permutations(entities, 2)
        if allowed is None or not (head.type and tail.type) or (head.type.lower(), tail.type.lower()) in allowed
    )


def _typed_pairs(labels: Sequence[str]) -> set[tuple[str, str]] | None:
    """Types of head and tail that the labels name, in lower case; None if some label names none."""
    matches = [_TYPED.fullmatch(label) for label in labels if label != NO_RELATION]
    if not all(matches):
        return None
    return {(match[1].lower(), match[2].lower()) for match in matches if match}
