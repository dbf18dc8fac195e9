"""Pairs of entities that labels allow, and their number, as two nested loops give them."""

from itertools import permutations

import pytest

from mmie.inference.pairs import plausible_pairs, typed_pairs
from mmie.types import NO_RELATION, Entity, Relation

ENTITIES = [
    Entity(0, 1, "PER"),
    Entity(1, 2, "LOC"),
    Entity(2, 3, "per"),
    Entity(3, 4, ""),
    Entity(4, 5, "ORG"),
]


def literal_pairs(entities, types):
    """All ordered pairs whose types are among the given ones; "" fits any type."""
    pairs = []
    for head, tail in permutations(entities, 2):
        head_type, tail_type = head.type.lower(), tail.type.lower()
        if not head_type or not tail_type or (head_type, tail_type) in types:
            pairs.append(Relation(head, tail, NO_RELATION))
    return tuple(pairs)


@pytest.mark.parametrize(
    ("labels", "types"),
    [
        (["None", "/per/loc/at"], {("per", "loc")}),
        (["None", "/PER/per/knows", "/org/loc/in"], {("per", "per"), ("org", "loc")}),
        (["None"], set()),
    ],
)
def test_only_types_that_labels_name_are_paired(labels, types):
    expected = literal_pairs(ENTITIES, types)
    assert plausible_pairs(ENTITIES, typed_pairs(labels)) == (expected, len(expected))


def test_all_entities_are_paired_if_a_label_names_no_types():
    pairs, count = plausible_pairs(ENTITIES, typed_pairs(["None", "/per/loc/at", "knows"]))
    assert [(pair.head, pair.tail) for pair in pairs] == list(permutations(ENTITIES, 2))
    assert count == 20


@pytest.mark.parametrize("limit", [0, 1, 7, 100])
def test_a_limit_keeps_the_first_pairs_and_the_count(limit):
    pairs, count = plausible_pairs(ENTITIES, None)
    assert plausible_pairs(ENTITIES, None, limit) == (pairs[:limit], count)


def test_pairs_beyond_the_limit_are_not_made():
    entities = [Entity(index, index + 1, "PER") for index in range(20_000)]
    pairs, count = plausible_pairs(entities, None, 3)
    assert len(pairs) == 3
    assert count == 20_000 * 19_999
