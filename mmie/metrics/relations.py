"""Counts of relations, with the columns of `mmie.metrics.scores`."""

import torch
from torch import Tensor

from mmie.types import UNKNOWN_LABEL


def relation_counts(
    predicted: Tensor, gold: Tensor, num_labels: int, none_index: int | None
) -> Tensor:
    """Count relations per label.

    A predicted ``None`` is no prediction, and a gold ``None`` is no relation.

    Args:
        predicted: (batch,) label ids.
        gold: (batch,) label ids; `UNKNOWN_LABEL` is a relation whose label is unknown to the model.
        num_labels: Number of labels, ``None`` included.
        none_index: Id of ``None``, whose row stays 0; None if the labels have no such label.

    Returns:
        (labels + 1, 3) counts; the last row is for relations of unknown label.

    Raises:
        ValueError: The shapes differ, or an id is no label.
    """
    confusion = _label_confusion(predicted, gold, num_labels)  # (labels + 1, labels)
    unknown = confusion.new_zeros(1)
    true_positives = torch.cat([confusion.diagonal(), unknown])  # (labels + 1,)
    num_predicted = torch.cat([confusion.sum(dim=0), unknown])  # (labels + 1,)
    counts = torch.stack([true_positives, num_predicted, confusion.sum(dim=1)], dim=1)
    if none_index is not None:
        counts[none_index] = 0
    return counts


def relation_counts_per_instance(predicted: Tensor, gold: Tensor, none_index: int | None) -> Tensor:
    """Count the relation of each instance, all labels together.

    A post with several relations has several instances. To resample whole posts, add up the rows of
    a post first.

    Args:
        predicted: (batch,) label ids.
        gold: (batch,) label ids.
        none_index: Id of ``None``, which counts as no relation; None if the labels have no such
            label.

    Returns:
        (batch, 3) of 0 or 1: whether the instance is a true positive, predicted, gold.

    Raises:
        ValueError: The shapes differ.

    >>> predicted, gold = torch.tensor([1, 0, 2]), torch.tensor([1, 2, 0])
    >>> relation_counts_per_instance(predicted, gold, none_index=0).tolist()
    [[1, 1, 1], [0, 0, 1], [0, 1, 0]]
    """
    _check_shapes(predicted, gold)
    if none_index is None:
        is_predicted = torch.ones_like(predicted)  # (batch,)
        is_gold = torch.ones_like(gold)  # (batch,)
    else:
        is_predicted = (predicted != none_index).long()  # (batch,)
        is_gold = (gold != none_index).long()  # (batch,)
    true_positives = is_predicted * (predicted == gold)  # (batch,)
    return torch.stack([true_positives, is_predicted, is_gold], dim=1)


def relation_confusion(predicted: Tensor, gold: Tensor, num_labels: int) -> Tensor:
    """Count how often a gold label (row) got a predicted label (column), (labels, labels).

    Gold relations of unknown label have no row and are left out.

    Raises:
        ValueError: The shapes differ, or an id is no label.
    """
    return _label_confusion(predicted, gold, num_labels)[:num_labels]


def accuracy_counts(predicted: Tensor, gold: Tensor) -> Tensor:
    """Count correct instances and all instances, ``None`` included, (2,).

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(predicted, gold)
    correct = (predicted == gold).sum()  # ()
    return torch.stack([correct, torch.full_like(correct, len(gold))])


def _check_shapes(predicted: Tensor, gold: Tensor) -> None:
    """Raise unless there is one gold label per predicted label."""
    if predicted.dim() != 1 or predicted.shape != gold.shape:
        shapes = f"{tuple(predicted.shape)} and {tuple(gold.shape)}"
        raise ValueError(f"predicted and gold labels must both be (batch,) ids, but are {shapes}")


def _label_confusion(predicted: Tensor, gold: Tensor, num_labels: int) -> Tensor:
    """Count pairs of gold label (row) and predicted label (column).

    Returns:
        (labels + 1, labels); the last row is for gold relations of unknown label.
    """
    _check_shapes(predicted, gold)
    for name, ids, lowest in (("predicted", predicted, 0), ("gold", gold, UNKNOWN_LABEL)):
        wrong = ids[(ids < lowest) | (ids >= num_labels)]  # (wrong ids,)
        if len(wrong):
            raise ValueError(
                f"{name} label {wrong[0].item()} is not from {lowest} to {num_labels - 1}"
            )
    rows = torch.where(gold == UNKNOWN_LABEL, num_labels, gold)  # (batch,)
    cells = rows * num_labels + predicted  # (batch,)
    counts = torch.bincount(cells, minlength=(num_labels + 1) * num_labels)
    return counts.view(num_labels + 1, num_labels)
