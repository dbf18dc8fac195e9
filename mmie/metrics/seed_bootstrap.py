"""Bootstrap over posts and seeds: significance of the difference between two methods."""

import torch
from torch import Tensor

from mmie.metrics.bootstrap import (
    BootstrapResult,
    bootstrap_totals,
    f1_difference,
    join_counts,
    share_as_extreme,
)

_BASE = 10.0
"""No p-value of n seeds is below ``_BASE ** -n``."""


def seed_bootstrap(
    counts_a: Tensor,
    counts_b: Tensor,
    resamples: int = 10_000,
    seed: int = 1234,
    confidence: float = 0.95,
    max_draws: int = 2**20,
) -> BootstrapResult:
    """Compute the difference in micro F1 of two methods, over posts and over seeds.

    `paired_bootstrap` tells how two trained models would differ on other posts. This test also
    tells how two methods would differ after trainings with other seeds. In each resample, posts are
    drawn with replacement, and so are the seeds: all posts with all seeds that were drawn (a
    crossed design, since every seed predicts the same posts). With d the difference on the data,
    m* the one on the drawn posts with every seed once, and r* the one on the drawn posts and seeds,

        d* = m* + (r* - m*) sqrt(n / X),    X from chi-square with n - 1 degrees of freedom,
        p = (1 + #{abs(d* - d) >= abs(d)}) / (1 + resamples).

    The factor is no part of the sources. The mean of n seeds that are drawn from n seeds varies
    with n - 1 in place of n, and from few seeds their spread is hardly known. The factor makes up
    for both, as Student's t does for a mean: p is about that of a paired t-test over the seeds
    where posts do not matter, and that of `paired_bootstrap` where seeds do not matter.

    p is never below 10 ** -n: an even smaller value from n seeds would rest on their normal
    distribution alone, which n seeds cannot show. One seed thus gives at least 0.1, and its
    interval holds for this seed alone.

    Args:
        counts_a: (seeds, posts, 3) true positives, predicted, gold of the first method.
        counts_b: (seeds, posts, 3) the same of the second method, with the same or paired seeds.
        resamples: How often to draw.
        seed: Seed of the draws.
        confidence: Share of resamples that the percentile interval holds.
        max_draws: Most draws of posts kept in memory at once; results do not depend on it.

    Raises:
        ValueError: The counts are empty, differ in shape, or differ in gold.

    Source: Sellam et al., The MultiBERTs, ICLR 2022, section 4 (Multi-Bootstrap over seeds and
    examples); Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1(2), 2007 (crossed
    designs).
    """
    both = _join_seeds(counts_a, counts_b)  # (seeds, posts, 6)
    seeds, posts, _ = both.shape
    rows = both.transpose(0, 1).reshape(posts, seeds * 6)  # (posts, seeds * 6)
    by_seed = bootstrap_totals(rows, resamples, seed, max_draws).view(-1, seeds, 6)
    middle = f1_difference(by_seed.sum(dim=1))  # (resamples,)
    difference = f1_difference(both.sum(dim=(0, 1)))  # ()
    resampled = middle
    if seeds > 1:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(seeds, (resamples, seeds), generator=generator)
        times = torch.nn.functional.one_hot(drawn, seeds).sum(dim=1).double()  # (resamples, seeds)
        with_drawn = f1_difference(torch.einsum("rs,rsc->rc", times, by_seed))  # (resamples,)
        normal = torch.randn(resamples, seeds - 1, generator=generator, dtype=torch.float64)
        spread = (seeds / normal.square().sum(dim=1)).sqrt()  # (resamples,)
        resampled = middle + (with_drawn - middle) * spread
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    low, high = resampled.quantile(tails).clamp(-1, 1).tolist()
    p_value = share_as_extreme(resampled - difference, difference)
    return BootstrapResult(difference.item(), low, high, max(p_value, smallest_p_value(seeds)))


def smallest_p_value(seeds: int) -> float:
    """Return the p-value below which `seed_bootstrap` does not go with a number of seeds."""
    return _BASE**-seeds


def _join_seeds(counts_a: Tensor, counts_b: Tensor) -> Tensor:
    """Concatenate the counts of both methods, (seeds, posts, 6) float64, if they fit each other.

    Raises:
        ValueError: The counts are empty, differ in shape, or differ in gold.
    """
    if counts_a.dim() != 3 or counts_a.shape != counts_b.shape or len(counts_a) == 0:
        shapes = f"{tuple(counts_a.shape)} and {tuple(counts_b.shape)}"
        raise ValueError(
            "both methods need counts of equally many seeds, shape (seeds, posts, 3), but have "
            f"{shapes}"
        )
    return torch.stack([join_counts(a, b) for a, b in zip(counts_a, counts_b, strict=True)])
