"""Precision, recall and F1 from integer counts of entities or relations.

Every count tensor has the columns true positives, predicted, gold, and is int64. Counts add up to
the same total in any order of the posts and with any number of processes, and so scores are equal
to the last digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class PrecisionRecallF1:
    """Precision, recall and F1, each from 0 to 1, and the number of gold items (``support``)."""

    precision: float
    recall: float
    f1: float
    support: int


def precision_recall_f1(true_positives: int, predicted: int, gold: int) -> PrecisionRecallF1:
    """Compute P = tp / predicted, R = tp / gold, F1 = 2 P R / (P + R).

    A score is 0 where it is undefined, as in seqeval by default.

    >>> precision_recall_f1(1, 2, 4)
    PrecisionRecallF1(precision=0.5, recall=0.25, f1=0.3333333333333333, support=4)
    """
    precision = true_positives / predicted if predicted else 0.0
    recall = true_positives / gold if gold else 0.0
    # the operations have seqeval's order, so that F1 equals seqeval's to the last digit
    f1 = 2 * precision * recall / (precision + recall) if true_positives else 0.0
    return PrecisionRecallF1(precision, recall, f1, gold)


def micro(counts: Tensor) -> PrecisionRecallF1:
    """Compute the scores of all rows of ``counts`` (rows, 3) together."""
    return precision_recall_f1(*counts.sum(dim=0).tolist())


def per_type(counts: Tensor, names: Sequence[str]) -> dict[str, PrecisionRecallF1]:
    """Compute the scores of each entity type or relation label.

    Args:
        counts: (names + 1, 3); the last row, of items without a name, is left out.
        names: Names of the other rows.

    Raises:
        ValueError: ``counts`` has another number of rows.
    """
    if len(counts) != len(names) + 1:
        raise ValueError(
            f"{len(names)} names need {len(names) + 1} rows of counts, the last one unnamed: "
            f"{len(counts)}"
        )
    rows = counts[:-1].tolist()
    return {name: precision_recall_f1(*row) for name, row in zip(names, rows, strict=True)}
