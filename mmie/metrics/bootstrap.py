"""Significance tests of the difference between two systems scored on the same posts.

Both tests resample posts, not entities, because entities of one post are not independent. Counts
come from `span_counts_per_post` or `relation_counts_per_instance`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

TIE = 1e-12
"""Differences closer than this are treated as equal, because they differ by rounding only."""


@dataclass(frozen=True, slots=True)
class BootstrapResult:
    """Difference between two systems with its confidence interval and p-value.

    Attributes:
        difference: Micro F1 of the first system minus that of the second, from -1 to 1.
        low: Lower end of the confidence interval of the difference.
        high: Upper end of the confidence interval of the difference.
        p_value: Probability of a difference at least as large, either way, if the systems were
            equally good.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(
    counts_a: Tensor,
    counts_b: Tensor,
    resamples: int = 10_000,
    seed: int = 1234,
    confidence: float = 0.95,
    max_draws: int = 2**20,
) -> BootstrapResult:
    """Compute the difference in micro F1 with its percentile interval and a two-sided p-value.

    With d the difference on the posts and d* the one on posts drawn from them with replacement,
    p = (1 + #{abs(d* - d) >= abs(d)}) / (1 + resamples).

    Args:
        counts_a: (posts, 3) true positives, predicted, gold of the first system.
        counts_b: (posts, 3) the same of the second system.
        resamples: How often to draw as many posts as there are.
        seed: Seed of the draws.
        confidence: Share of resamples that the interval holds.
        max_draws: Most draws kept in memory at once; results do not depend on it.

    Raises:
        ValueError: The counts are empty, differ in shape, or differ in gold.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 16.4 (test with
    shifted resamples); Berg-Kirkpatrick et al., An Empirical Investigation of Statistical
    Significance in NLP, EMNLP 2012.
    """
    both = join_counts(counts_a, counts_b)  # (posts, 6)
    resampled = f1_difference(bootstrap_totals(both, resamples, seed, max_draws))  # (resamples,)
    difference = f1_difference(both.sum(dim=0))  # ()
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    low, high = resampled.quantile(tails).tolist()
    p_value = share_as_extreme(resampled - difference, difference)
    return BootstrapResult(difference.item(), low, high, p_value)


def bootstrap_totals(
    rows: Tensor, resamples: int = 10_000, seed: int = 1234, max_draws: int = 2**20
) -> Tensor:
    """Add up rows that are drawn with replacement, as many as there are.

    Args:
        rows: (posts, columns) float64.
        resamples: How often to draw.
        seed: Seed of the draws.
        max_draws: Most draws kept in memory at once; results do not depend on it.

    Returns:
        (resamples, columns) float64.
    """
    totals = []
    for indices in _draw(len(rows), resamples, len(rows), seed, max_draws):
        totals.append(_count_draws(indices) @ rows)  # (rows, columns)
    return torch.cat(totals)


def micro_f1(totals: Tensor) -> Tensor:
    """Compute micro F1 = 2 tp / (predicted + gold) of totals (..., 3), (...), 0 where undefined."""
    true_positives, predicted, gold = totals.unbind(dim=-1)
    return 2 * true_positives / (predicted + gold).clamp(min=1)


def approximate_randomization(
    counts_a: Tensor,
    counts_b: Tensor,
    resamples: int = 10_000,
    seed: int = 1234,
    max_draws: int = 2**20,
) -> float:
    """Compute a two-sided p-value of the difference in micro F1.

    With d the difference and d* the one after the systems swapped their output on every post with
    probability 1/2, p = (1 + #{abs(d*) >= abs(d)}) / (1 + resamples).

    Args:
        counts_a: (posts, 3) true positives, predicted, gold of the first system.
        counts_b: (posts, 3) the same of the second system.
        resamples: How often to swap.
        seed: Seed of the swaps.
        max_draws: Most draws kept in memory at once; the result does not depend on it.

    Raises:
        ValueError: The counts are empty, differ in shape, or differ in gold.

    Source: Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989; Yeh, More accurate
    tests for the statistical significance of result differences, COLING 2000
    (https://aclanthology.org/C00-2137).
    """
    both = join_counts(counts_a, counts_b)  # (posts, 6)
    gain = both[:, 3:] - both[:, :3]  # (posts, 3)
    change = torch.cat([gain, -gain], dim=1)  # (posts, 6), the effect of a swap on the counts
    total = both.sum(dim=0)  # (6,)
    differences = []
    for swaps in _draw(2, resamples, len(both), seed, max_draws):
        differences.append(f1_difference(total + swaps.double() @ change))  # (rows,)
    return share_as_extreme(torch.cat(differences), f1_difference(total))


def join_counts(counts_a: Tensor, counts_b: Tensor) -> Tensor:
    """Concatenate the counts of both systems, (posts, 6) float64, if they fit each other."""
    is_table = counts_a.dim() == 2 and counts_a.shape[1] == 3 and len(counts_a) > 0
    if counts_a.shape != counts_b.shape or not is_table:
        shapes = f"{tuple(counts_a.shape)} and {tuple(counts_b.shape)}"
        raise ValueError(
            f"both systems need counts of the same posts, shape (posts, 3), but have {shapes}"
        )
    differs = (counts_a[:, 2] != counts_b[:, 2]).nonzero()  # (rows, 1)
    if len(differs):
        raise ValueError(
            "the systems were scored on different gold, first in row "
            f"{int(differs[0])} of the counts"
        )
    return torch.cat([counts_a, counts_b], dim=1).cpu().double()


def _draw(high: int, resamples: int, posts: int, seed: int, max_draws: int) -> Iterator[Tensor]:
    """Yield (resamples, posts) integers below ``high``, some rows at a time."""
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, max_draws // posts)
    for start in range(0, resamples, rows):
        shape = (min(rows, resamples - start), posts)
        yield torch.randint(high, shape, generator=generator)


def _count_draws(indices: Tensor) -> Tensor:
    """Count how often each post was drawn in every row of drawn posts (rows, posts).

    Returns:
        (rows, posts) float64, exact for counts.
    """
    rows, posts = indices.shape
    cells = indices + posts * torch.arange(rows).unsqueeze(1)  # (rows, posts)
    counts = torch.bincount(cells.flatten(), minlength=rows * posts)  # (rows * posts,)
    return counts.view(rows, posts).double()


def f1_difference(totals: Tensor) -> Tensor:
    """Compute F1 of the first minus F1 of the second system of totals (..., 6), (...)."""
    return micro_f1(totals[..., :3]) - micro_f1(totals[..., 3:])


def share_as_extreme(resampled: Tensor, difference: Tensor) -> float:
    """Compute the share of resampled differences at least as far from 0 as the observed one.

    The observed difference counts as one of the resampled.
    """
    extreme = int((resampled.abs() >= difference.abs() - TIE).sum())
    return (1 + extreme) / (1 + len(resampled))
