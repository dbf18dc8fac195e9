"""Counts of entities against seqeval and brute force."""

import itertools
import warnings
from collections import Counter

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score

from mmie.metrics import (
    PrecisionRecallF1,
    micro,
    per_type,
    span_counts,
    span_counts_per_post,
    span_type_confusion,
)
from mmie.tags import tags_to_entities
from mmie.types import Entity

TYPES = ["PER", "LOC", "geo-loc"]
TAGS = ["O", *(f"{prefix}-{name}" for prefix in "BIES" for name in TYPES)]
many = settings(max_examples=200, deadline=None, derandomize=True)


@st.composite
def tagged_posts(draw):
    """Draw gold and predicted tags of the same posts, valid or not, posts possibly empty."""
    palette = draw(st.lists(st.sampled_from(TAGS), min_size=1, unique=True))
    lengths = draw(st.lists(st.integers(0, 8), min_size=1, max_size=6))
    tags = [st.lists(st.sampled_from(palette), min_size=n, max_size=n) for n in lengths]
    gold = [draw(post) for post in tags]
    predicted = []
    for gold_tags, post in zip(gold, tags, strict=True):
        predicted.append(draw(st.one_of(st.just(gold_tags), post)))
    return gold, predicted


def decode_posts(posts):
    return [tags_to_entities(tags) for tags in posts]


def call_quietly(function, *arguments, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scores that are undefined
        return function(*arguments, **keywords)


@many
@given(tagged_posts())
@example(([[]], [[]]))
@example(([["O", "O"]], [["B-PER", "O"]]))
@example(([["B-PER", "O"]], [["O", "O"]]))
@example(
    (
        [["I-PER", "E-PER", "I-PER", "S-LOC", "E-LOC"]],
        [["B-PER", "S-PER", "I-PER", "E-LOC", "I-LOC"]],
    )
)
def test_micro_scores_equal_seqeval_to_the_last_digit(posts):
    gold, predicted = posts
    ours = micro(span_counts(decode_posts(predicted), decode_posts(gold), TYPES))
    assert ours.precision == call_quietly(precision_score, gold, predicted)
    assert ours.recall == call_quietly(recall_score, gold, predicted)
    assert ours.f1 == call_quietly(f1_score, gold, predicted)


@pytest.mark.slow
@many
@given(tagged_posts())
def test_scores_per_type_equal_seqeval_to_the_last_digit(posts):
    gold, predicted = posts
    ours = per_type(span_counts(decode_posts(predicted), decode_posts(gold), TYPES), TYPES)
    if all(tag == "O" for post in gold + predicted for tag in post):  # seqeval reports no type then
        report = {}
    else:
        report = call_quietly(classification_report, gold, predicted, output_dict=True)
    undefined = {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 0}
    for name in TYPES:
        theirs = report.get(name, undefined)
        assert ours[name] == PrecisionRecallF1(
            theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"]
        )


@many
@given(tagged_posts())
def test_types_without_a_row_count_in_the_last_row(posts):
    gold, predicted = (decode_posts(tags) for tags in posts)
    of_all = span_counts(predicted, gold, TYPES)
    of_first = span_counts(predicted, gold, TYPES[:1])
    assert torch.equal(of_first[0], of_all[0])
    assert torch.equal(of_first[1], of_all[1:].sum(dim=0))
    assert of_all[-1].tolist() == [0, 0, 0]


@pytest.mark.slow
@many
@given(tagged_posts())
def test_counts_per_post_add_up_to_the_counts(posts):
    gold, predicted = (decode_posts(tags) for tags in posts)
    per_post = span_counts_per_post(predicted, gold)
    assert per_post.dtype == torch.int64
    assert per_post.shape == (len(gold), 3)
    assert torch.equal(per_post.sum(dim=0), span_counts(predicted, gold, TYPES).sum(dim=0))


@pytest.mark.slow
@many
@given(tagged_posts())
def test_span_type_confusion_equals_brute_force(posts):
    gold, predicted = (decode_posts(tags) for tags in posts)
    confusion = span_type_confusion(predicted, gold, TYPES)
    expected = Counter()
    for predicted_post, gold_post in zip(predicted, gold, strict=True):
        for span in itertools.product(range(9), repeat=2):
            row = [e.type for e in gold_post if (e.start, e.end) == span]
            column = [e.type for e in predicted_post if (e.start, e.end) == span]
            if row or column:
                expected[(row or ["none"])[0], (column or ["none"])[0]] += 1
    names = [*TYPES, "none"]
    assert confusion.tolist() == [[expected[row, column] for column in names] for row in names]
    counts = span_counts(predicted, gold, TYPES)
    assert torch.equal(confusion.diagonal()[:-1], counts[:-1, 0])
    assert torch.equal(confusion.sum(dim=0)[:-1], counts[:-1, 1])
    assert torch.equal(confusion.sum(dim=1)[:-1], counts[:-1, 2])


def test_span_type_confusion_leaves_other_types_out():
    gold = [[Entity(0, 1, "PER"), Entity(1, 2, "OTHER")]]
    predicted = [[Entity(0, 1, "OTHER"), Entity(1, 2, "PER"), Entity(3, 4, "OTHER")]]
    assert span_type_confusion(predicted, gold, ["PER"]).tolist() == [[0, 1], [1, 0]]


def test_entity_listed_twice_counts_once():
    twice = [[Entity(0, 1, "PER"), Entity(0, 1, "PER")]]
    assert span_counts(twice, twice, ["PER"]).tolist() == [[1, 1, 1], [0, 0, 0]]


def test_entities_of_another_post_type_or_end_are_wrong():
    gold = [[Entity(0, 2, "PER")], [], [Entity(0, 2, "PER")], [Entity(0, 2, "PER")]]
    predicted = [[Entity(0, 2, "LOC")], [Entity(0, 2, "PER")], [], [Entity(0, 1, "PER")]]
    assert span_counts(predicted, gold, ["PER", "LOC"]).tolist() == [
        [0, 2, 3],
        [0, 1, 0],
        [0, 0, 0],
    ]


def test_no_posts_give_counts_of_0():
    assert span_counts([], [], ["PER"]).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert span_counts_per_post([], []).shape == (0, 3)
    assert span_type_confusion([], [], ["PER"]).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("count", [lambda p, g: span_counts(p, g, ["PER"]), span_counts_per_post])
def test_different_numbers_of_posts_raise(count):
    with pytest.raises(ValueError, match="predictions for 1 posts, gold for 2"):
        count([[]], [[], []])


@pytest.mark.parametrize("count", [span_counts, span_type_confusion])
def test_type_named_twice_raises(count):
    with pytest.raises(ValueError, match="named twice: PER, LOC, PER"):
        count([], [], ["PER", "LOC", "PER"])
