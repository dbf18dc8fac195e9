"""Is one system better than another, or is it luck? Two answers from the same posts scored for both.

Both resample posts, not entities: entities of one post stand or fall together. Counts come from
`span_counts_per_post` or `relation_counts_per_post`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_TIE = 1e-12
"""Differences closer than this are the same difference, rounded differently."""


@dataclass(frozen=True, slots=True)
class BootstrapResult:
    """How far two systems are apart.

    Attributes:
        difference: Micro F1 of the first system minus that of the second, from -1 to 1.
        low: Lower end of the confidence interval of the difference.
        high: Upper end of the confidence interval of the difference.
        p_value: Probability of a difference at least as large, either way, if the systems were equally good.
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
    """Difference in micro F1 with its percentile interval and a two-sided p-value.

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
        ValueError: No posts, shapes differ, or gold differs.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 16.4 (test with shifted resamples);
    Berg-Kirkpatrick et al., An Empirical Investigation of Statistical Significance in NLP, EMNLP 2012.
    """
    _check(counts_a, counts_b)
    both = torch.cat([counts_a, counts_b], dim=1).cpu().double()  # (posts, 6)
    draws = _draws(len(both), resamples, len(both), seed, max_draws)
    resampled = torch.cat(
        [_difference(_times_drawn(indices) @ both) for indices in draws]
    )  # (resamples,)
    difference = _difference(both.sum(dim=0))
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    low, high = resampled.quantile(tails).tolist()
    return BootstrapResult(difference.item(), low, high, _share(resampled - difference, difference))


def approximate_randomization(
    counts_a: Tensor,
    counts_b: Tensor,
    resamples: int = 10_000,
    seed: int = 1234,
    max_draws: int = 2**20,
) -> float:
    """Two-sided p-value of the difference in micro F1.

    With d the difference and d* the one after the systems swapped their output on every post with probability 1/2,
    p = (1 + #{abs(d*) >= abs(d)}) / (1 + resamples).

    Args:
        counts_a: (posts, 3) true positives, predicted, gold of the first system.
        counts_b: (posts, 3) the same of the second system.
        resamples: How often to swap.
        seed: Seed of the swaps.
        max_draws: Most draws kept in memory at once; the result does not depend on it.

    Raises:
        ValueError: No posts, shapes differ, or gold differs.

    Source: Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989; Yeh, More accurate tests for the
    statistical significance of result differences, COLING 2000 (https://aclanthology.org/C00-2137).
    """
    _check(counts_a, counts_b)
    both = torch.cat([counts_a, counts_b], dim=1).cpu().double()  # (posts, 6)
    gain = (counts_b - counts_a).cpu().double()
    change = torch.cat([gain, -gain], dim=1)  # (posts, 6), what a swap does to the counts
    total = both.sum(dim=0)
    draws = _draws(2, resamples, len(both), seed, max_draws)
    swapped = torch.cat(
        [_difference(total + swaps.double() @ change) for swaps in draws]
    )  # (resamples,)
    return _share(swapped, _difference(total))


def _check(counts_a: Tensor, counts_b: Tensor) -> None:
    """Raise unless both systems were scored on the same posts."""
    if (
        counts_a.shape != counts_b.shape
        or counts_a.dim() != 2
        or counts_a.shape[1] != 3
        or not len(counts_a)
    ):
        shapes = f"{tuple(counts_a.shape)} and {tuple(counts_b.shape)}"
        raise ValueError(
            f"both systems need counts of the same posts, shape (posts, 3), but have {shapes}"
        )
    differs = (counts_a[:, 2] != counts_b[:, 2]).nonzero()
    if len(differs):
        raise ValueError(
            f"the systems were scored on different gold, first in row {int(differs[0])} of the counts"
        )


def _draws(high: int, resamples: int, posts: int, seed: int, max_draws: int) -> Iterator[Tensor]:
    """(resamples, posts) integers below ``high``, some rows at a time."""
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, max_draws // posts)
    for start in range(0, resamples, rows):
        yield torch.randint(high, (min(rows, resamples - start), posts), generator=generator)


def _times_drawn(indices: Tensor) -> Tensor:
    """(rows, posts) drawn posts -> (rows, posts) how often each post was drawn, as double: exact for counts."""
    rows, posts = indices.shape
    cells = indices + posts * torch.arange(rows).unsqueeze(1)
    return torch.bincount(cells.flatten(), minlength=rows * posts).view(rows, posts).double()


def _difference(totals: Tensor) -> Tensor:
    """(..., 6) summed counts of both systems -> (...) F1 of the first minus F1 of the second."""
    return _f1(totals[..., :3]) - _f1(totals[..., 3:])


def _f1(totals: Tensor) -> Tensor:
    """(..., 3) summed counts -> (...) micro F1 = 2 tp / (predicted + gold); 0 where undefined."""
    true_positives, predicted, gold = totals.unbind(dim=-1)
    return 2 * true_positives / (predicted + gold).clamp(min=1)


def _share(resampled: Tensor, difference: Tensor) -> float:
    """Share of ``resampled`` at least as far from 0 as ``difference``, the observed one counted in."""
    extreme = int((resampled.abs() >= difference.abs() - _TIE).sum())
    return (1 + extreme) / (1 + len(resampled))
