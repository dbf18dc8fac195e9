"""Precision, recall and F1 from counts."""

import pytest
import torch

from mmie.metrics import PrecisionRecallF1, micro, per_type, precision_recall_f1


def test_undefined_scores_are_zero():
    assert precision_recall_f1(0, 0, 0) == PrecisionRecallF1(0.0, 0.0, 0.0, 0)
    assert precision_recall_f1(0, 3, 0) == PrecisionRecallF1(0.0, 0.0, 0.0, 0)
    assert precision_recall_f1(0, 0, 3) == PrecisionRecallF1(0.0, 0.0, 0.0, 3)


def test_micro_scores_are_those_of_summed_counts():
    counts = torch.tensor([[1, 2, 1], [0, 1, 3], [1, 1, 1]])
    assert micro(counts) == precision_recall_f1(2, 4, 5)


def test_scores_per_type_leave_the_last_row_out():
    counts = torch.tensor([[1, 2, 1], [0, 1, 3], [1, 1, 1]])
    expected = {"PER": precision_recall_f1(1, 2, 1), "LOC": precision_recall_f1(0, 1, 3)}
    assert per_type(counts, ["PER", "LOC"]) == expected


def test_counts_that_do_not_fit_the_names_raise():
    with pytest.raises(ValueError, match="2 names need 3 rows"):
        per_type(torch.zeros(2, 3, dtype=torch.int64), ["PER", "LOC"])
