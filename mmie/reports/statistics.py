"""Scores of answers, and whether two systems differ: pure functions on plain data.

The scores are those of `mmie.metrics`, which counts a relation in the form that `mmie.runs.reading.PredictionRecord` gives it
exactly as an entity.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmie.metrics import (
    PrecisionRecallF1,
    approximate_randomization,
    paired_bootstrap,
    per_type,
    precision_recall_f1,
    span_counts,
    span_counts_per_post,
    span_type_confusion,
)
from mmie.runs.reading import PredictionRecord
from mmie.types import Entity


@dataclass(frozen=True, slots=True)
class Spread:
    """Scores of several seeds.

    Attributes:
        mean: Their mean.
        std: Sample standard deviation (n - 1); None for a single one.
        values: The scores.
    """

    mean: float
    std: float | None
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two systems are apart, and how likely that is luck.

    Attributes:
        first: Name of the first system.
        second: Name of the second system.
        seeds: Pairs of seeds whose runs were compared.
        difference: F1 of the first minus F1 of the second, -1 to 1, over the posts of all pairs together.
        low: Lower end of the 95 percent interval of the difference.
        high: Upper end of it.
        p_bootstrap: p-value of the paired bootstrap, two-sided.
        p_randomization: p-value of approximate randomisation, two-sided.
        p_holm: The latter, adjusted for the number of pairs compared.
    """

    first: str
    second: str
    seeds: tuple[tuple[int, int], ...]
    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_randomization: float
    p_holm: float = 1.0


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation.

    >>> spread([0.5, 0.7]).mean, spread([0.5]).std
    (0.6, None)
    """
    return Spread(
        statistics.fmean(values),
        statistics.stdev(values) if len(values) > 1 else None,
        tuple(values),
    )


def post_counts(predictions: Sequence[PredictionRecord]) -> Tensor:
    """True positives, predicted and gold of each post, instances of one post added up: (posts, 3)."""
    places = {
        name: place
        for place, name in enumerate(dict.fromkeys(prediction.id for prediction in predictions))
    }
    rows = torch.tensor([places[prediction.id] for prediction in predictions])
    counts = span_counts_per_post(
        [prediction.predicted for prediction in predictions],
        [prediction.gold for prediction in predictions],
    )
    return torch.zeros(len(places), 3, dtype=torch.int64).index_add_(0, rows, counts)


def scores_by_type(
    predictions: Sequence[PredictionRecord], types: Sequence[str]
) -> dict[str, PrecisionRecallF1]:
    """Scores of each entity type or relation label."""
    predicted, gold = (
        [prediction.predicted for prediction in predictions],
        [prediction.gold for prediction in predictions],
    )
    return per_type(span_counts(predicted, gold, types), types)


def confusion(runs: Sequence[Sequence[PredictionRecord]], types: Sequence[str]) -> list[list[int]]:
    """How often a gold type (row) was taken for a type (column), over all runs.

    The last column is gold that nothing was predicted for, the last row predictions where there is nothing.
    """
    tables = [
        span_type_confusion([a.predicted for a in run], [a.gold for a in run], types)
        for run in runs
    ]
    return [[int(cell) for cell in row] for row in torch.stack(tables).sum(dim=0).tolist()]


def types_of(runs: Sequence[Sequence[PredictionRecord]]) -> list[str]:
    """Types of gold in order of their number, then types that are predicted alone."""
    found: dict[str, int] = defaultdict(int)
    for run in runs:
        for prediction in run:
            for entity in prediction.gold:
                found[entity.type] += 1
            for entity in prediction.predicted:
                found[entity.type] += 0
    return sorted(found, key=lambda name: (-found[name], name))


def sliced(
    predictions: Sequence[PredictionRecord], bucket: Callable[[PredictionRecord, Entity], str]
) -> dict[str, PrecisionRecallF1]:
    """Scores of the gold and predicted entities that fall into each bucket.

    Args:
        predictions: Answers of one run.
        bucket: Name of the bucket of an entity; it may not look at the entity's type, so that an entity that was
            found stays in the bucket of the gold one.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for prediction in predictions:
        found, gold = set(prediction.predicted), set(prediction.gold)
        for column, entities in enumerate((found & gold, found, gold)):
            for entity in entities:
                counts[bucket(prediction, entity)][column] += 1
    return {name: precision_recall_f1(*row) for name, row in counts.items()}


def pair_seeds(first: Sequence[int], second: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Which runs of two systems are compared: those of equal seed; without any, in order of their seeds.

    >>> pair_seeds([1, 2, 3], [3, 2, 9])
    ((2, 2), (3, 3))
    >>> pair_seeds([1, 2, 3], [8, 7])
    ((1, 7), (2, 8))
    """
    shared = sorted(set(first) & set(second))
    if shared:
        return tuple((seed, seed) for seed in shared)
    return tuple(zip(sorted(first), sorted(second), strict=False))


def difference(
    first: tuple[str, Mapping[int, Tensor]],
    second: tuple[str, Mapping[int, Tensor]],
    resamples: int,
) -> Difference:
    """Compare two systems over the same posts.

    Runs of equal seed are paired, and a post's counts are added up over the pairs before posts are resampled: the
    answers of several seeds to one post stand or fall together, so more seeds do not pass for more posts.

    Args:
        first: Name, and counts (posts, 3) of each seed, of the first system.
        second: The same of the second system.
        resamples: How often to draw posts, and to swap answers.

    Raises:
        ValueError: The counts are not of the same posts.
    """
    pairs = pair_seeds(list(first[1]), list(second[1]))
    pooled = [
        torch.stack([counts[pair[side]] for pair in pairs]).sum(dim=0)
        for side, counts in enumerate((first[1], second[1]))
    ]
    drawn = paired_bootstrap(pooled[0], pooled[1], resamples)
    swapped = approximate_randomization(pooled[0], pooled[1], resamples)
    return Difference(
        first[0],
        second[0],
        pairs,
        drawn.difference,
        drawn.low,
        drawn.high,
        drawn.p_value,
        swapped,
        swapped,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, so that one below 0.05 is a mistake in at most 5 of 100 such families.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, least = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def disagreements(predictions: Mapping[str, Sequence[PredictionRecord]], count: int) -> list[int]:
    """Places of the instances on which systems differ most: by the span of their numbers of errors, then of answers.

    Args:
        predictions: Answers of each system to the same instances.
        count: How many places to give at most.
    """
    ranked = []
    for place, given in enumerate(zip(*predictions.values(), strict=True)):
        errors = [len(set(prediction.predicted) ^ set(prediction.gold)) for prediction in given]
        variety = len({frozenset(prediction.predicted) for prediction in given})
        if variety > 1:
            ranked.append((min(errors) - max(errors), -variety, place))
    return [place for _, _, place in sorted(ranked)[:count]]
