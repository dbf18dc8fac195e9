"""Counts of relations against scikit-learn and brute force."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from mmie.metrics import (
    PrecisionRecallF1,
    accuracy_counts,
    micro,
    per_type,
    relation_confusion,
    relation_counts,
    relation_counts_per_instance,
)

LABELS = 4
many = settings(max_examples=200, deadline=None, derandomize=True)


@st.composite
def labelled_batches(draw):
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, LABELS - 1), st.integers(-1, LABELS - 1)),
            min_size=1,
            max_size=30,
        )
    )
    predicted, gold = zip(*pairs, strict=True)
    return torch.tensor(predicted), torch.tensor(gold)


@pytest.mark.slow
@many
@given(labelled_batches(), st.sampled_from([None, 0, 2]))
def test_relation_counts_equal_brute_force(labels, none_index):
    predicted, gold = labels
    expected = [[0, 0, 0] for _ in range(LABELS + 1)]
    for label, gold_label in zip(predicted.tolist(), gold.tolist(), strict=True):
        expected[label][0] += label == gold_label and label != none_index
        expected[label][1] += label != none_index
        expected[gold_label][2] += gold_label != none_index
    counts = relation_counts(predicted, gold, LABELS, none_index)
    assert counts.dtype == torch.int64
    assert counts.tolist() == expected
    per_post = relation_counts_per_instance(predicted, gold, none_index)
    assert torch.equal(per_post.sum(dim=0), counts.sum(dim=0))
    assert ((per_post == 0) | (per_post == 1)).all()


@pytest.mark.slow
@many
@given(labelled_batches())
def test_relation_scores_equal_scikit_learn(labels):
    predicted, gold = labels
    relations = list(range(1, LABELS))
    counts = relation_counts(predicted, gold, LABELS, none_index=0)
    with_unknown = {"labels": [-1, *relations], "average": "micro", "zero_division": 0}
    precision, recall, f1, _ = precision_recall_fscore_support(gold, predicted, **with_unknown)
    overall = micro(counts)
    assert (overall.precision, overall.recall, overall.f1) == pytest.approx(
        (precision, recall, f1), abs=1e-12
    )
    reference = precision_recall_fscore_support(gold, predicted, labels=relations, zero_division=0)
    names = ["None", "a", "b", "c"]
    ours = per_type(counts, names)
    for name, precision, recall, f1, support in zip(names[1:], *reference, strict=True):
        scores = ours[name]
        assert (scores.precision, scores.recall, scores.f1) == pytest.approx(
            (precision, recall, f1), abs=1e-12
        )
        assert scores.support == support
    correct, total = accuracy_counts(predicted, gold).tolist()
    assert correct / total == pytest.approx(accuracy_score(gold, predicted), abs=1e-12)


@pytest.mark.slow
@many
@given(labelled_batches())
def test_relation_confusion_equals_scikit_learn(labels):
    predicted, gold = labels
    known = gold >= 0
    expected = torch.zeros(LABELS, LABELS, dtype=torch.int64)
    if known.any():
        expected = torch.tensor(
            confusion_matrix(gold[known], predicted[known], labels=range(LABELS))
        )
    assert torch.equal(relation_confusion(predicted, gold, LABELS), expected)


def test_predicted_none_is_no_prediction():
    predicted, gold = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    assert micro(relation_counts(predicted, gold, 2, none_index=0)) == PrecisionRecallF1(
        0.5, 0.5, 0.5, 2
    )
    assert accuracy_counts(predicted, gold).tolist() == [2, 4]


def test_gold_relation_of_unknown_label_counts_as_missed():
    predicted, gold = torch.tensor([1, 0]), torch.tensor([-1, -1])
    assert relation_counts(predicted, gold, 2, none_index=0).tolist() == [
        [0, 0, 0],
        [0, 1, 0],
        [0, 0, 2],
    ]
    assert accuracy_counts(predicted, gold).tolist() == [0, 2]


def test_no_posts_give_counts_of_0():
    empty = torch.zeros(0, dtype=torch.int64)
    assert relation_counts(empty, empty, 2, 0).tolist() == [[0, 0, 0]] * 3
    assert relation_counts_per_instance(empty, empty, 0).shape == (0, 3)
    assert accuracy_counts(empty, empty).tolist() == [0, 0]


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
def test_invalid_labels_raise(predicted, gold, message):
    with pytest.raises(ValueError, match=message):
        relation_counts(torch.tensor(predicted), torch.tensor(gold), 2, none_index=0)
