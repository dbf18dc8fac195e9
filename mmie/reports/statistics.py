"""Scores of predictions over types, parts of a test split and seeds: pure functions on plain data.

The scores are those of `mmie.metrics`. A relation is scored exactly as an entity, in the form that
`mmie.runs.PredictionRecord` gives it.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmie.metrics import (
    PrecisionRecallF1,
    per_type,
    precision_recall_f1,
    span_counts,
    span_counts_per_post,
    span_type_confusion,
)
from mmie.runs import PredictionRecord, Run
from mmie.types import Entity

SCORE_NAMES = ("precision", "recall", "f1")
"""Scores that every test reports."""


@dataclass(frozen=True, slots=True)
class MeanAndDeviation:
    """Score of a system over its seeds.

    Attributes:
        mean: Mean of the values.
        std: Sample standard deviation (n - 1); None for a single value.
        values: Score of each seed.
    """

    mean: float
    std: float | None
    values: tuple[float, ...]


def mean_and_deviation(values: Sequence[float]) -> MeanAndDeviation:
    """Compute the mean and the sample standard deviation of values.

    >>> mean_and_deviation([0.5, 0.7]).mean, mean_and_deviation([0.5]).std
    (0.6, None)
    """
    std = statistics.stdev(values) if len(values) > 1 else None
    return MeanAndDeviation(statistics.fmean(values), std, tuple(values))


def scores_of_runs(
    runs: Sequence[Run], names: Sequence[str] = SCORE_NAMES
) -> dict[str, MeanAndDeviation]:
    """Compute the mean and deviation of test scores over runs.

    Args:
        runs: Runs of one system.
        names: Names of the scores.
    """
    result = {}
    for name in names:
        result[name] = mean_and_deviation([run.scores[name] for run in runs])
    return result


def post_counts(predictions: Sequence[PredictionRecord]) -> Tensor:
    """Count the true positives, predicted and gold spans of each post.

    Counts of several instances of one post are added up.

    Returns:
        (posts, 3), posts in the order of their first instance.
    """
    row_of_post: dict[str, int] = {}
    for prediction in predictions:
        row_of_post.setdefault(prediction.id, len(row_of_post))
    rows = torch.tensor([row_of_post[prediction.id] for prediction in predictions])  # (instances,)
    counts = span_counts_per_post(*_predicted_and_gold(predictions))  # (instances, 3)
    return torch.zeros(len(row_of_post), 3, dtype=torch.int64).index_add_(0, rows, counts)


def scores_by_type(
    predictions: Sequence[PredictionRecord], types: Sequence[str]
) -> dict[str, PrecisionRecallF1]:
    """Compute the scores of each entity type or relation label."""
    predicted, gold = _predicted_and_gold(predictions)
    return per_type(span_counts(predicted, gold, types), types)


def scores_by_bucket(
    predictions: Sequence[PredictionRecord], bucket: Callable[[PredictionRecord, Entity], str]
) -> dict[str, PrecisionRecallF1]:
    """Compute the scores of the gold and predicted entities in each bucket.

    Args:
        predictions: Predictions of one run.
        bucket: Returns the name of an entity's bucket. It must not depend on the entity's type, so
            that a gold entity and a prediction over the same words are in one bucket.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for prediction in predictions:
        predicted, gold = set(prediction.predicted), set(prediction.gold)
        for column, entities in enumerate((predicted & gold, predicted, gold)):
            for entity in entities:
                counts[bucket(prediction, entity)][column] += 1
    return {name: precision_recall_f1(*row) for name, row in counts.items()}


def confusion_matrix(
    runs: Sequence[Sequence[PredictionRecord]], types: Sequence[str]
) -> list[list[int]]:
    """Count how often a gold type (row) was predicted as a type (column), over all runs.

    The last column counts gold spans without a prediction, the last row predictions without a gold
    span.
    """
    total = torch.zeros(len(types) + 1, len(types) + 1, dtype=torch.int64)
    for run in runs:
        total += span_type_confusion(*_predicted_and_gold(run), types)
    cells: list[list[int]] = total.tolist()
    return cells


def types_by_frequency(runs: Sequence[Sequence[PredictionRecord]]) -> list[str]:
    """List the types of gold entities by frequency, then types that are only predicted."""
    counts: Counter[str] = Counter()
    for run in runs:
        for prediction in run:
            counts.update(entity.type for entity in prediction.gold)
            counts.update({entity.type: 0 for entity in prediction.predicted})
    return sorted(counts, key=lambda name: (-counts[name], name))


def _predicted_and_gold(
    predictions: Sequence[PredictionRecord],
) -> tuple[list[tuple[Entity, ...]], list[tuple[Entity, ...]]]:
    """Collect the predicted and the gold entities of each instance."""
    predicted = [prediction.predicted for prediction in predictions]
    gold = [prediction.gold for prediction in predictions]
    return predicted, gold
