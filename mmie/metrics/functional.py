"""Integer counts of entities and relations, and precision, recall and F1 from them.

Every count tensor has the columns true positives, predicted, gold, and is int64: counts add up to the same whatever
the order of the posts and the number of processes, so scores do too, to the last digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmie.types import Entity

UNKNOWN = -1
"""Gold label of a relation that the model has no label for: it can only be missed."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Precision, recall and F1, each from 0 to 1, and the number of gold items (``support``)."""

    precision: float
    recall: float
    f1: float
    support: int


def scores(true_positives: int, predicted: int, gold: int) -> Scores:
    """P = tp / predicted, R = tp / gold, F1 = 2 P R / (P + R); 0 where undefined, as seqeval's default.

    >>> scores(1, 2, 4)
    Scores(precision=0.5, recall=0.25, f1=0.3333333333333333, support=4)
    """
    precision = true_positives / predicted if predicted else 0.0
    recall = true_positives / gold if gold else 0.0
    # Multiplied in seqeval's order: another one differs from it in the last digit.
    f1 = 2 * precision * recall / (precision + recall) if true_positives else 0.0
    return Scores(precision, recall, f1, gold)


def micro(counts: Tensor) -> Scores:
    """Scores of all rows of ``counts``, (rows, 3), taken together."""
    return scores(*counts.sum(dim=0).tolist())


def per_type(counts: Tensor, names: Sequence[str]) -> dict[str, Scores]:
    """Scores of each entity type or relation label.

    Args:
        counts: (names + 1, 3); the last row holds what has no name and is left out.
        names: Names of the other rows.

    Raises:
        ValueError: ``counts`` has another number of rows.
    """
    if len(counts) != len(names) + 1:
        raise ValueError(
            f"{len(names)} names need {len(names) + 1} rows of counts, the last one unnamed: {len(counts)}"
        )
    return {name: scores(*row) for name, row in zip(names, counts[:-1].tolist(), strict=True)}


def span_counts(
    predicted: Sequence[Sequence[Entity]], gold: Sequence[Sequence[Entity]], types: Sequence[str]
) -> Tensor:
    """Counts per entity type; an entity is right if a gold one has the same words and the same type.

    Args:
        predicted: Entities of each post; one that occurs twice in a post counts once, as in seqeval.
        gold: Gold entities of the same posts.
        types: Entity types that get a row of their own.

    Returns:
        (types + 1, 3) counts; the last row is for all other types together.

    Raises:
        ValueError: Not the same number of posts, or a type is named twice.
    """
    rows = _rows(types)
    counts = [[0, 0, 0] for _ in range(len(types) + 1)]
    for found, true in _pairs(predicted, gold):
        for column, entities in enumerate((found & true, found, true)):
            for entity in entities:
                counts[rows.get(entity.type, len(types))][column] += 1
    return torch.tensor(counts)


def span_counts_per_post(
    predicted: Sequence[Sequence[Entity]], gold: Sequence[Sequence[Entity]]
) -> Tensor:
    """Counts per post, all types together: (posts, 3).

    Raises:
        ValueError: Not the same number of posts.

    >>> span_counts_per_post([[Entity(0, 1, "PER")], []], [[Entity(0, 1, "PER")], [Entity(2, 3, "LOC")]]).tolist()
    [[1, 1, 1], [0, 0, 1]]
    """
    counts = [(len(found & true), len(found), len(true)) for found, true in _pairs(predicted, gold)]
    return torch.tensor(counts, dtype=torch.int64).view(len(counts), 3)


def span_type_confusion(
    predicted: Sequence[Sequence[Entity]], gold: Sequence[Sequence[Entity]], types: Sequence[str]
) -> Tensor:
    """How often a gold type (row) got a predicted type (column), over spans with exactly the same words.

    Args:
        predicted: Entities of each post, no two of them over the same words.
        gold: Gold entities of the same posts, likewise.
        types: Entity types; entities of any other type are left out.

    Returns:
        (types + 1, types + 1) counts; the last column is gold spans that nothing was predicted for, the last row is
        predicted spans that are not gold.

    Raises:
        ValueError: Not the same number of posts, or a type is named twice.
    """
    rows = _rows(types)
    confusion = torch.zeros(len(types) + 1, len(types) + 1, dtype=torch.int64)
    for found, true in _pairs(predicted, gold):
        columns_of = {
            (entity.start, entity.end): rows[entity.type] for entity in found if entity.type in rows
        }
        rows_of = {
            (entity.start, entity.end): rows[entity.type] for entity in true if entity.type in rows
        }
        for span in columns_of.keys() | rows_of.keys():
            confusion[rows_of.get(span, len(types)), columns_of.get(span, len(types))] += 1
    return confusion


def relation_counts(
    predicted: Tensor, gold: Tensor, num_labels: int, none_index: int | None
) -> Tensor:
    """Counts per relation label; a predicted ``None`` is no prediction, a gold ``None`` is no relation.

    Args:
        predicted: (batch,) label ids.
        gold: (batch,) label ids; -1 is a relation whose label is unknown to the model.
        num_labels: Number of labels, ``None`` included.
        none_index: Id of ``None``, whose row stays 0; None if the labels have no such label.

    Returns:
        (labels + 1, 3) counts; the last row is for relations of unknown label.

    Raises:
        ValueError: Shapes differ, or an id is no label.
    """
    confusion = _label_confusion(predicted, gold, num_labels)
    nothing = confusion.new_zeros(1)
    right = torch.cat([confusion.diagonal(), nothing])  # (labels + 1,)
    claimed = torch.cat([confusion.sum(dim=0), nothing])  # (labels + 1,)
    counts = torch.stack([right, claimed, confusion.sum(dim=1)], dim=1)
    if none_index is not None:
        counts[none_index] = 0
    return counts


def relation_counts_per_post(predicted: Tensor, gold: Tensor, none_index: int | None) -> Tensor:
    """Counts per instance, all labels together: (batch, 3). Arguments as in `relation_counts`.

    A post with several relations is several instances; add their rows up to resample whole posts.

    Raises:
        ValueError: Shapes differ.

    >>> relation_counts_per_post(torch.tensor([1, 0, 2]), torch.tensor([1, 2, 0]), none_index=0).tolist()
    [[1, 1, 1], [0, 0, 1], [0, 1, 0]]
    """
    _check_shapes(predicted, gold)
    claimed = torch.ones_like(predicted) if none_index is None else (predicted != none_index).long()
    true = torch.ones_like(gold) if none_index is None else (gold != none_index).long()
    return torch.stack([claimed * (predicted == gold), claimed, true], dim=1)  # (batch, 3)


def relation_confusion(predicted: Tensor, gold: Tensor, num_labels: int) -> Tensor:
    """How often a gold label (row) got a predicted label (column): (labels, labels).

    Gold relations of unknown label (-1) have no row and are left out.

    Raises:
        ValueError: Shapes differ, or an id is no label.
    """
    return _label_confusion(predicted, gold, num_labels)[:num_labels]


def accuracy_counts(predicted: Tensor, gold: Tensor) -> Tensor:
    """Correct instances and all instances, ``None`` included: (2,).

    Raises:
        ValueError: Shapes differ.
    """
    _check_shapes(predicted, gold)
    correct = (predicted == gold).sum()
    return torch.stack([correct, torch.full_like(correct, len(gold))])


def _pairs(
    predicted: Sequence[Sequence[Entity]], gold: Sequence[Sequence[Entity]]
) -> list[tuple[set[Entity], set[Entity]]]:
    """Predicted and gold entities of each post as sets."""
    if len(predicted) != len(gold):
        raise ValueError(
            f"predictions for {len(predicted)} posts, gold for {len(gold)}: give both for the same posts"
        )
    return [(set(found), set(true)) for found, true in zip(predicted, gold, strict=True)]


def _rows(types: Sequence[str]) -> dict[str, int]:
    """Row of each entity type."""
    rows = {name: row for row, name in enumerate(types)}
    if len(rows) != len(types):
        raise ValueError(f"an entity type is named twice: {', '.join(types)}")
    return rows


def _check_shapes(predicted: Tensor, gold: Tensor) -> None:
    """Raise unless there is one gold label per predicted label."""
    if predicted.dim() != 1 or predicted.shape != gold.shape:
        shapes = f"{tuple(predicted.shape)} and {tuple(gold.shape)}"
        raise ValueError(f"predicted and gold labels must both be (batch,) ids, but are {shapes}")


def _label_confusion(predicted: Tensor, gold: Tensor, num_labels: int) -> Tensor:
    """(labels + 1, labels) counts of gold label (row) and predicted label (column); the last row is `UNKNOWN`."""
    _check_shapes(predicted, gold)
    for name, ids, lowest in (("predicted", predicted, 0), ("gold", gold, UNKNOWN)):
        wrong = ids[(ids < lowest) | (ids >= num_labels)]
        if len(wrong):
            raise ValueError(
                f"{name} label {wrong[0].item()} is not from {lowest} to {num_labels - 1}"
            )
    row = torch.where(gold == UNKNOWN, num_labels, gold)
    cells = torch.bincount(row * num_labels + predicted, minlength=(num_labels + 1) * num_labels)
    return cells.view(num_labels + 1, num_labels)
