"""The bootstrap over posts and seeds, against cases whose answer is known."""

import pytest
import torch
from scipy import stats

from mmie.metrics import paired_bootstrap, seed_bootstrap, smallest_p_value


def counts(right, gold=10):
    """Counts of a run that predicts one span for each of the gold ones.

    Args:
        right: (seeds, posts) number of right spans.
        gold: Number of gold spans of each post.
    """
    right = torch.as_tensor(right)
    return torch.stack([right, torch.full_like(right, gold), torch.full_like(right, gold)], dim=-1)


def noisy_counts(generator, posts, chances):
    """Counts of runs that find each of ten spans of a post with a probability, (seeds,)."""
    draws = torch.rand(len(chances), posts, 10, generator=generator)
    return counts((draws < torch.as_tensor(chances)[:, None, None]).sum(dim=-1))


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_where_posts_are_alike_it_is_about_the_t_test_over_seeds(seeds):
    generator = torch.Generator().manual_seed(seeds)
    a, b = torch.randint(400, 600, (2, seeds), generator=generator)
    posts = 40
    first, second = (
        counts(a[:, None].expand(-1, posts), 1000),
        counts(b[:, None].expand(-1, posts), 1000),
    )
    for shift in (0, 60):
        shifted = first.clone()
        shifted[..., 0] += shift
        expected = stats.ttest_rel(a + shift, b).pvalue
        found = seed_bootstrap(shifted, second, 20_000)
        assert found.difference == pytest.approx(((a + shift - b) / 1000).float().mean().item())
        assert found.p_value == pytest.approx(expected, abs=0.08)
        low, high = stats.ttest_rel(a + shift, b).confidence_interval()
        width = (high - low) / 1000
        assert found.high - found.low == pytest.approx(width, rel=0.2)


def test_where_seeds_are_alike_it_is_the_paired_bootstrap():
    generator = torch.Generator().manual_seed(1)
    a, b = noisy_counts(generator, 60, [0.7]), noisy_counts(generator, 60, [0.68])
    copies_a, copies_b = a.expand(4, -1, -1), b.expand(4, -1, -1)
    expected = paired_bootstrap(a[0], b[0], 2000)
    found = seed_bootstrap(copies_a, copies_b, 2000)
    assert found.p_value == pytest.approx(expected.p_value)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_number_of_seeds_bounds_the_p_value():
    posts = 50
    for seeds in (1, 2, 3):
        everything = counts(torch.full((seeds, posts), 10))
        nothing = counts(torch.zeros(seeds, posts, dtype=torch.int64))
        found = seed_bootstrap(everything, nothing, 10_000)
        assert found.p_value == smallest_p_value(seeds) == pytest.approx(10.0**-seeds)
        assert (found.difference, found.low, found.high) == (1, 1, 1)
    many = counts(torch.full((6, posts), 10)), counts(torch.zeros(6, posts, dtype=torch.int64))
    assert seed_bootstrap(*many, 10_000).p_value == pytest.approx(1 / 10_001)


@pytest.mark.parametrize("seeds", [2, 4])
def test_methods_that_differ_by_their_seeds_alone_are_rarely_told_apart(seeds):
    # Both methods have the same distribution of seeds: a test at 0.05 may reject 5 percent.
    generator = torch.Generator().manual_seed(7)
    rejected, rejected_over_posts, cases = 0, 0, 120
    for _ in range(cases):
        chances = 0.7 + 0.05 * torch.randn(2, seeds, generator=generator)
        a, b = (noisy_counts(generator, 100, of_method) for of_method in chances)
        rejected += seed_bootstrap(a, b, 400).p_value < 0.05
        rejected_over_posts += paired_bootstrap(a.sum(0), b.sum(0), 400).p_value < 0.05
    assert rejected <= 0.08 * cases
    assert rejected_over_posts >= 0.3 * cases


def test_a_clear_difference_is_found_with_three_seeds():
    generator = torch.Generator().manual_seed(3)
    a = noisy_counts(generator, 200, [0.93, 0.94, 0.95])
    b = noisy_counts(generator, 200, [0.5, 0.51, 0.49])
    found = seed_bootstrap(a, b, 4000)
    assert found.p_value < 0.01
    assert 0.3 < found.low < found.difference < found.high < 0.6


def test_results_do_not_depend_on_the_memory():
    generator = torch.Generator().manual_seed(4)
    a, b = (noisy_counts(generator, 30, [0.7, 0.6]) for _ in range(2))
    assert seed_bootstrap(a, b, 300, max_draws=64) == seed_bootstrap(a, b, 300)


@pytest.mark.parametrize(
    ("shape", "other", "message"),
    [
        ((2, 4, 3), (3, 4, 3), r"equally many seeds, .* \(2, 4, 3\) and \(3, 4, 3\)"),
        ((4, 3), (4, 3), "equally many seeds"),
        ((0, 4, 3), (0, 4, 3), "equally many seeds"),
        ((2, 0, 3), (2, 0, 3), "same posts"),
    ],
)
def test_counts_that_do_not_fit_are_refused(shape, other, message):
    with pytest.raises(ValueError, match=message):
        seed_bootstrap(torch.zeros(shape), torch.zeros(other))


def test_other_gold_is_refused():
    a = counts(torch.zeros(2, 4, dtype=torch.int64))
    b = a.clone()
    b[1, 2, 2] = 3
    with pytest.raises(ValueError, match="different gold, first in row 2"):
        seed_bootstrap(a, b)
