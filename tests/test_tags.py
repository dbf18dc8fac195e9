"""BIO and BIOES tags against brute force and seqeval."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from mmie.tags import (
    allowed_transition,
    continues,
    entities_to_tags,
    tag_names,
    tags_to_entities,
)
from mmie.types import Entity

TYPES = ["PER", "geo-loc"]
TAGS = ["O", *(f"{prefix}-{name}" for prefix in "BIES" for name in TYPES)]
many = settings(max_examples=300, deadline=None, derandomize=True)


def test_tag_names_start_with_o_and_keep_the_order_of_types():
    assert tag_names(TYPES, "bio") == ("O", "B-PER", "I-PER", "B-geo-loc", "I-geo-loc")
    assert tag_names(["PER"], "bioes") == ("O", "B-PER", "I-PER", "E-PER", "S-PER")
    assert tag_names([], "bio") == ("O",)


@many
@given(st.lists(st.sampled_from(TAGS), max_size=8))
def test_entities_of_any_tags_are_those_of_seqeval(tags):
    expected = [Entity(start, end + 1, name) for name, start, end in get_entities(tags)]
    assert tags_to_entities(tags) == expected


def test_entities_of_mixed_tags():
    assert tags_to_entities(["S-PER", "B-LOC", "I-ORG", "E-ORG"]) == [
        Entity(0, 1, "PER"),
        Entity(1, 2, "LOC"),
        Entity(2, 4, "ORG"),
    ]
    assert tags_to_entities([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["bio", "bioes"])
@many
@given(data=st.data())
def test_tags_of_entities_give_the_entities_back(scheme, data):
    bounds = sorted(data.draw(st.sets(st.integers(0, 10))))
    spans = list(itertools.pairwise(bounds))[:: data.draw(st.integers(1, 2))]
    entities = [Entity(start, end, data.draw(st.sampled_from(TYPES))) for start, end in spans]
    tags = entities_to_tags(entities, 10, scheme)
    assert len(tags) == 10
    assert set(tags) <= set(tag_names(TYPES, scheme))
    assert tags_to_entities(tags) == entities
    for previous, tag in itertools.pairwise([None, *tags, None]):
        assert allowed_transition(previous, tag, scheme)


@pytest.mark.parametrize(
    ("scheme", "expected"), [("bio", ["O", "B-PER", "I-PER"]), ("bioes", ["O", "B-PER", "E-PER"])]
)
def test_entity_that_reaches_beyond_the_words_is_cut(scheme, expected):
    assert entities_to_tags([Entity(1, 9, "PER"), Entity(9, 10, "PER")], 3, scheme) == expected


def test_entities_that_share_a_word_raise():
    with pytest.raises(ValueError, match="word 1 is part of two entities"):
        entities_to_tags([Entity(0, 2, "PER"), Entity(1, 3, "LOC")], 3, "bio")


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_allowed_transitions_are_those_that_occur_in_tags_of_entities(scheme):
    """Enumerate all sets of entities over four words and collect the pairs of tags."""
    spans = list(itertools.combinations(range(5), 2))
    observed = set()
    for count in range(5):
        for chosen in itertools.combinations(spans, count):
            if any(left[1] > right[0] for left, right in itertools.pairwise(chosen)):
                continue
            for names in itertools.product(TYPES, repeat=count):
                entities = [Entity(*span, name) for span, name in zip(chosen, names, strict=True)]
                tags = entities_to_tags(entities, 4, scheme)
                observed.update(itertools.pairwise([None, *tags, None]))
    names = [None, *tag_names(TYPES, scheme)]
    for previous, tag in itertools.product(names, repeat=2):
        if previous is None and tag is None:
            continue
        assert allowed_transition(previous, tag, scheme) == ((previous, tag) in observed)


def test_continuing_tags_have_the_type_of_an_open_entity():
    assert continues("B-PER", "I-PER")
    assert continues("I-PER", "E-PER")
    for previous, tag in [
        ("B-PER", "I-LOC"),
        ("E-PER", "I-PER"),
        ("S-PER", "E-PER"),
        ("O", "I-PER"),
        ("B-PER", "B-PER"),
        ("I-PER", "O"),
    ]:
        assert not continues(previous, tag)
