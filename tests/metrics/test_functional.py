import warnings
from collections import Counter

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from mmie.metrics import (
    Scores,
    accuracy_counts,
    micro,
    per_type,
    relation_confusion,
    relation_counts,
    relation_counts_per_post,
    scores,
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
    """Gold and predicted tags of the same posts; prefixes mixed, sequences valid or not, posts possibly empty."""
    palette = draw(st.lists(st.sampled_from(TAGS), min_size=1, unique=True))
    lengths = draw(st.lists(st.integers(0, 8), min_size=1, max_size=6))
    tags = [st.lists(st.sampled_from(palette), min_size=n, max_size=n) for n in lengths]
    gold = [draw(post) for post in tags]
    predicted = [
        draw(st.one_of(st.just(true), post)) for true, post in zip(gold, tags, strict=True)
    ]
    return gold, predicted


def entities(posts):
    return [tags_to_entities(tags) for tags in posts]


def seqeval(function, *arguments, **keywords):
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
def test_span_scores_are_seqevals_to_the_last_digit(posts):
    gold, predicted = posts
    ours = micro(span_counts(entities(predicted), entities(gold), TYPES))
    assert ours.precision == seqeval(precision_score, gold, predicted)
    assert ours.recall == seqeval(recall_score, gold, predicted)
    assert ours.f1 == seqeval(f1_score, gold, predicted)


@many
@given(tagged_posts())
def test_scores_per_type_are_seqevals_to_the_last_digit(posts):
    gold, predicted = posts
    ours = per_type(span_counts(entities(predicted), entities(gold), TYPES), TYPES)
    if all(tag == "O" for post in gold + predicted for tag in post):  # seqeval reports no type then
        report = {}
    else:
        report = seqeval(classification_report, gold, predicted, output_dict=True)
    undefined = {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 0}
    for name in TYPES:
        theirs = report.get(name, undefined)
        assert ours[name] == Scores(
            theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"]
        )


@many
@given(tagged_posts())
def test_types_without_a_row_still_count(posts):
    gold, predicted = (entities(tags) for tags in posts)
    every, some = span_counts(predicted, gold, TYPES), span_counts(predicted, gold, TYPES[:1])
    assert torch.equal(some[0], every[0])
    assert torch.equal(some[1], every[1:].sum(dim=0))
    assert every[-1].tolist() == [0, 0, 0]


@many
@given(tagged_posts())
def test_counts_per_post_add_up_to_the_counts(posts):
    gold, predicted = (entities(tags) for tags in posts)
    per_post = span_counts_per_post(predicted, gold)
    assert per_post.dtype == torch.int64
    assert per_post.shape == (len(gold), 3)
    assert torch.equal(per_post.sum(dim=0), span_counts(predicted, gold, TYPES).sum(dim=0))


@many
@given(tagged_posts())
def test_span_type_confusion_is_the_brute_force_one(posts):
    gold, predicted = (entities(tags) for tags in posts)
    confusion = span_type_confusion(predicted, gold, TYPES)
    expected = Counter()
    for found, true in zip(predicted, gold, strict=True):
        for start in range(9):
            for end in range(9):
                row = [e.type for e in true if (e.start, e.end) == (start, end)]
                column = [e.type for e in found if (e.start, e.end) == (start, end)]
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


def test_an_entity_that_is_listed_twice_counts_once():
    twice = [[Entity(0, 1, "PER"), Entity(0, 1, "PER")]]
    assert span_counts(twice, twice, ["PER"]).tolist() == [[1, 1, 1], [0, 0, 0]]


def test_the_same_words_in_another_post_or_with_another_type_or_end_are_wrong():
    gold = [[Entity(0, 2, "PER")], [], [Entity(0, 2, "PER")], [Entity(0, 2, "PER")]]
    predicted = [[Entity(0, 2, "LOC")], [Entity(0, 2, "PER")], [], [Entity(0, 1, "PER")]]
    assert span_counts(predicted, gold, ["PER", "LOC"]).tolist() == [
        [0, 2, 3],
        [0, 1, 0],
        [0, 0, 0],
    ]


def test_no_posts_are_fine():
    assert span_counts([], [], ["PER"]).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert span_counts_per_post([], []).shape == (0, 3)
    assert span_type_confusion([], [], ["PER"]).tolist() == [[0, 0], [0, 0]]
    empty = torch.zeros(0, dtype=torch.int64)
    assert relation_counts(empty, empty, 2, 0).tolist() == [[0, 0, 0]] * 3
    assert relation_counts_per_post(empty, empty, 0).shape == (0, 3)
    assert accuracy_counts(empty, empty).tolist() == [0, 0]


def test_undefined_scores_are_zero():
    assert scores(0, 0, 0) == Scores(0.0, 0.0, 0.0, 0)
    assert scores(0, 3, 0) == Scores(0.0, 0.0, 0.0, 0)
    assert scores(0, 0, 3) == Scores(0.0, 0.0, 0.0, 3)


LABELS = 4


@st.composite
def labelled(draw):
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, LABELS - 1), st.integers(-1, LABELS - 1)),
            min_size=1,
            max_size=30,
        )
    )
    predicted, gold = zip(*pairs, strict=True)
    return torch.tensor(predicted), torch.tensor(gold)


@many
@given(labelled(), st.sampled_from([None, 0, 2]))
def test_relation_counts_are_the_brute_force_ones(labels, none_index):
    predicted, gold = labels
    expected = [[0, 0, 0] for _ in range(LABELS + 1)]
    for found, true in zip(predicted.tolist(), gold.tolist(), strict=True):
        expected[found][0] += found == true and found != none_index
        expected[found][1] += found != none_index
        expected[true][2] += true != none_index
    counts = relation_counts(predicted, gold, LABELS, none_index)
    assert counts.dtype == torch.int64
    assert counts.tolist() == expected
    per_post = relation_counts_per_post(predicted, gold, none_index)
    assert torch.equal(per_post.sum(dim=0), counts.sum(dim=0))
    assert ((per_post == 0) | (per_post == 1)).all()


@many
@given(labelled())
def test_relation_scores_are_those_of_scikit_learn(labels):
    predicted, gold = labels
    relations = list(range(1, LABELS))
    counts = relation_counts(predicted, gold, LABELS, none_index=0)
    with_unknown = {"labels": [-1, *relations], "average": "micro", "zero_division": 0}
    precision, recall, f1, _ = precision_recall_fscore_support(gold, predicted, **with_unknown)
    overall = micro(counts)
    assert (overall.precision, overall.recall, overall.f1) == pytest.approx(
        (precision, recall, f1), abs=1e-12
    )
    theirs = precision_recall_fscore_support(gold, predicted, labels=relations, zero_division=0)
    names = ["None", "a", "b", "c"]
    ours = per_type(counts, names)
    for name, precision, recall, f1, support in zip(names[1:], *theirs, strict=True):
        one = ours[name]
        assert (one.precision, one.recall, one.f1) == pytest.approx(
            (precision, recall, f1), abs=1e-12
        )
        assert one.support == support
    correct, total = accuracy_counts(predicted, gold).tolist()
    assert correct / total == pytest.approx(accuracy_score(gold, predicted), abs=1e-12)


@many
@given(labelled())
def test_relation_confusion_is_that_of_scikit_learn(labels):
    predicted, gold = labels
    known = gold >= 0
    expected = torch.zeros(LABELS, LABELS, dtype=torch.int64)
    if known.any():
        expected = torch.tensor(
            confusion_matrix(gold[known], predicted[known], labels=range(LABELS))
        )
    assert torch.equal(relation_confusion(predicted, gold, LABELS), expected)


def test_a_predicted_none_is_no_prediction():
    predicted, gold = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    assert micro(relation_counts(predicted, gold, 2, none_index=0)) == Scores(0.5, 0.5, 0.5, 2)
    assert accuracy_counts(predicted, gold).tolist() == [2, 4]


def test_a_gold_label_unknown_to_the_model_can_only_be_missed():
    predicted, gold = torch.tensor([1, 0]), torch.tensor([-1, -1])
    assert relation_counts(predicted, gold, 2, none_index=0).tolist() == [
        [0, 0, 0],
        [0, 1, 0],
        [0, 0, 2],
    ]
    assert accuracy_counts(predicted, gold).tolist() == [0, 2]


@pytest.mark.parametrize("count", [lambda p, g: span_counts(p, g, ["PER"]), span_counts_per_post])
def test_different_numbers_of_posts_are_refused(count):
    with pytest.raises(ValueError, match="predictions for 1 posts, gold for 2"):
        count([[]], [[], []])


@pytest.mark.parametrize("count", [span_counts, span_type_confusion])
def test_a_type_named_twice_is_refused(count):
    with pytest.raises(ValueError, match="named twice: PER, LOC, PER"):
        count([], [], ["PER", "LOC", "PER"])


@pytest.mark.parametrize(
    ("predicted", "gold", "message"),
    [
        ([0, 1], [0], r"\(2,\) and \(1,\)"),
        ([[0]], [[0]], r"\(1, 1\) and \(1, 1\)"),
        ([0, 2], [0, 0], "predicted label 2 is not from 0 to 1"),
        ([-1, 0], [0, 0], "predicted label -1 is not from 0 to 1"),
        ([0, 0], [0, 5], "gold label 5 is not from -1 to 1"),
        ([0, 0], [-2, 0], "gold label -2 is not from -1 to 1"),
    ],
)
def test_bad_labels_are_refused(predicted, gold, message):
    with pytest.raises(ValueError, match=message):
        relation_counts(torch.tensor(predicted), torch.tensor(gold), 2, none_index=0)


def test_counts_that_do_not_fit_the_names_are_refused():
    with pytest.raises(ValueError, match="2 names need 3 rows"):
        per_type(torch.zeros(2, 3, dtype=torch.int64), ["PER", "LOC"])
