"""Significance of the difference between two systems: pure functions on counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from mmie.metrics import approximate_randomization, seed_bootstrap
from mmie.reports.statistics import post_counts
from mmie.runs import PredictionRecord


class SystemCounts(NamedTuple):
    """Counts of a system's runs on one test split.

    Attributes:
        name: Name of the system.
        by_seed: True positives, predicted and gold spans, (posts, 3), of the run of each seed.
    """

    name: str
    by_seed: Mapping[int, Tensor]

    @classmethod
    def from_predictions(
        cls, name: str, predictions: Mapping[int, Sequence[PredictionRecord]]
    ) -> Self:
        """Count the spans in the predictions of each seed."""
        return cls(name, {seed: post_counts(records) for seed, records in predictions.items()})


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference in F1 between two systems, with tests of its significance.

    Attributes:
        first: Name of the first system.
        second: Name of the second system.
        seeds: Pairs of seeds whose runs were compared.
        difference: F1 of the first minus F1 of the second, -1 to 1, over the posts of all pairs.
        low: Lower end of the 95 percent interval of the difference.
        high: Upper end of that interval.
        p_bootstrap: p-value of the bootstrap over posts and seeds, two-sided.
        p_randomization: p-value of approximate randomisation over the posts alone, two-sided. It is
            for these trained runs, and says nothing of other seeds.
        p_holm: p-value of the bootstrap, adjusted for the number of comparisons.
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

    def reversed(self) -> "Difference":
        """Return the same difference, second system minus first."""
        return replace(
            self,
            first=self.second,
            second=self.first,
            seeds=tuple((second, first) for first, second in self.seeds),
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
        )


def compare_systems(first: SystemCounts, second: SystemCounts, resamples: int) -> Difference:
    """Compare two systems on the same posts.

    Runs of equal seed are paired. The bootstrap draws posts and pairs of seeds. Approximate
    randomisation adds up a post's counts over the pairs and swaps the sums, so that more seeds do
    not count as more posts.

    Args:
        first: Counts of the first system.
        second: Counts of the second system.
        resamples: Number of bootstrap samples, and of random swaps.

    Raises:
        ValueError: The two systems have counts of different numbers of posts or gold spans.
    """
    pairs = pair_seeds(list(first.by_seed), list(second.by_seed))
    first_counts = torch.stack([first.by_seed[seed] for seed, _ in pairs])  # (pairs, posts, 3)
    second_counts = torch.stack([second.by_seed[seed] for _, seed in pairs])  # (pairs, posts, 3)
    bootstrap = seed_bootstrap(first_counts, second_counts, resamples)
    first_total, second_total = first_counts.sum(dim=0), second_counts.sum(dim=0)  # (posts, 3)
    p_randomization = approximate_randomization(first_total, second_total, resamples)
    return Difference(
        first=first.name,
        second=second.name,
        seeds=pairs,
        difference=bootstrap.difference,
        low=bootstrap.low,
        high=bootstrap.high,
        p_bootstrap=bootstrap.p_value,
        p_randomization=p_randomization,
        p_holm=bootstrap.p_value,
    )


def pair_seeds(first: Sequence[int], second: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Pair the runs of two systems: those of equal seed, or all in order of their seeds.

    >>> pair_seeds([1, 2, 3], [3, 2, 9])
    ((2, 2), (3, 3))
    >>> pair_seeds([1, 2, 3], [8, 7])
    ((1, 7), (2, 8))
    """
    shared = sorted(set(first) & set(second))
    if shared:
        return tuple((seed, seed) for seed in shared)
    return tuple(zip(sorted(first), sorted(second), strict=False))


def adjust_p_values(differences: Sequence[Difference]) -> list[Difference]:
    """Adjust the p-values of the bootstrap for the number of differences."""
    p_values = [difference.p_bootstrap for difference in differences]
    pairs = zip(differences, holm_correction(p_values), strict=True)
    return [replace(difference, p_holm=adjusted) for difference, adjusted in pairs]


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number.

    With ``p(1) <= ... <= p(n)``, the adjusted value of ``p(k)`` is the largest of
    ``(n - j + 1) p(j)`` over ``j <= k``, at most 1. If all hypotheses whose adjusted value is below
    0.05 are rejected, the probability that one of them is true is below 5 percent.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of
    Statistics, 1979.

    >>> holm_correction([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        scaled = min(1.0, (len(p_values) - rank) * p_values[index])
        largest = max(largest, scaled)
        adjusted[index] = largest
    return adjusted
