"""Significance tests against brute force in plain Python."""

import random

import numpy
import pytest
import torch

from mmie.metrics import approximate_randomization, paired_bootstrap, relation_counts_per_instance


def simulate_system(posts, quality, seed):
    """Count for a system that finds each of 1 to 3 gold entities with probability ``quality``."""
    choose = random.Random(seed)
    rows = []
    for post in range(posts):
        gold = 1 + post % 3
        right = sum(choose.random() < quality for _ in range(gold))
        rows.append([right, right + (choose.random() < 0.5), gold])
    return torch.tensor(rows)


def micro_f1(rows):
    """Compute micro F1 of rows in plain Python."""
    true_positives, predicted, gold = (sum(row[column] for row in rows) for column in range(3))
    return 2 * true_positives / (predicted + gold) if predicted + gold else 0.0


def bootstrap_by_loops(a, b, indices):
    """Compute the differences of resamples one at a time."""
    differences = []
    for row in indices:
        differences.append(micro_f1([a[i] for i in row]) - micro_f1([b[i] for i in row]))
    return differences


@pytest.mark.parametrize("max_draws", [1, 100, 2**20])
def test_bootstrap_equals_brute_force(max_draws):
    a, b = simulate_system(13, 0.7, seed=0), simulate_system(13, 0.55, seed=1)
    resamples = 200
    result = paired_bootstrap(a, b, resamples, seed=5, max_draws=max_draws)
    indices = torch.randint(
        13, (resamples, 13), generator=torch.Generator().manual_seed(5)
    ).tolist()
    differences = bootstrap_by_loops(a.tolist(), b.tolist(), indices)
    observed = micro_f1(a.tolist()) - micro_f1(b.tolist())
    extreme = sum(abs(difference - observed) >= abs(observed) - 1e-12 for difference in differences)
    low, high = numpy.quantile(differences, [0.025, 0.975])
    assert result.difference == observed
    assert result.p_value == (1 + extreme) / (1 + resamples)
    assert (result.low, result.high) == pytest.approx((low, high), abs=1e-12)
    assert 0 < extreme < resamples


@pytest.mark.parametrize("max_draws", [1, 100, 2**20])
def test_randomization_equals_brute_force(max_draws):
    a, b = simulate_system(13, 0.7, seed=0), simulate_system(13, 0.55, seed=1)
    resamples = 200
    p_value = approximate_randomization(a, b, resamples, seed=5, max_draws=max_draws)
    swaps = torch.randint(2, (resamples, 13), generator=torch.Generator().manual_seed(5)).tolist()
    observed = micro_f1(a.tolist()) - micro_f1(b.tolist())
    extreme = 0
    for swap in swaps:
        first, second = [], []
        for is_swapped, row_a, row_b in zip(swap, a.tolist(), b.tolist(), strict=True):
            first.append(row_b if is_swapped else row_a)
            second.append(row_a if is_swapped else row_b)
        extreme += abs(micro_f1(first) - micro_f1(second)) >= abs(observed) - 1e-12
    assert p_value == (1 + extreme) / (1 + resamples)
    assert 0 < extreme < resamples


def test_all_swaps_of_three_posts_give_the_exact_p_value():
    a = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 1]])
    b = torch.tensor([[0, 1, 1], [0, 1, 1], [0, 1, 1]])
    assert approximate_randomization(a, b) == pytest.approx(2 / 8, abs=0.02)


def test_identical_systems_have_no_difference():
    a = simulate_system(50, 0.7, seed=0)
    result = paired_bootstrap(a, a, resamples=500)
    assert (result.difference, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert approximate_randomization(a, a, resamples=500) == 1.0


@pytest.mark.parametrize(
    "test", [lambda *args: paired_bootstrap(*args).p_value, approximate_randomization]
)
def test_p_values_of_equally_good_systems_are_uniform(test):
    pairs = [
        (simulate_system(80, 0.6, seed), simulate_system(80, 0.6, 1000 + seed))
        for seed in range(100)
    ]
    p_values = torch.tensor([test(a, b, 400) for a, b in pairs])
    for level in (0.1, 0.25, 0.5, 0.75):
        assert (p_values <= level).double().mean().item() == pytest.approx(level, abs=0.12)


def test_large_difference_is_significant():
    good, bad = simulate_system(300, 0.9, seed=0), simulate_system(300, 0.5, seed=1)
    result = paired_bootstrap(good, bad, resamples=2000)
    assert result.p_value == 1 / 2001
    assert 0 < result.low < result.difference < result.high < 1
    assert approximate_randomization(good, bad, resamples=2000) == 1 / 2001


def test_swapping_the_systems_negates_the_difference():
    a, b = simulate_system(60, 0.7, seed=2), simulate_system(60, 0.6, seed=3)
    one, other = paired_bootstrap(a, b, 500), paired_bootstrap(b, a, 500)
    assert (one.difference, one.p_value) == (-other.difference, other.p_value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_more_confidence_widens_the_interval_and_results_depend_on_the_seed():
    a, b = simulate_system(60, 0.7, seed=2), simulate_system(60, 0.6, seed=3)
    wide, narrow = (paired_bootstrap(a, b, 1000, confidence=level) for level in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert paired_bootstrap(a, b, 500) == paired_bootstrap(a, b, 500)
    assert paired_bootstrap(a, b, 500) != paired_bootstrap(a, b, 500, seed=1)


def test_relations_and_posts_without_entities_are_accepted():
    gold = torch.tensor([0, 1, 2, 0])
    a = relation_counts_per_instance(torch.tensor([0, 1, 2, 0]), gold, none_index=0)
    b = relation_counts_per_instance(torch.tensor([0, 0, 0, 0]), gold, none_index=0)
    assert paired_bootstrap(a, b, 100).difference == 1.0
    nothing = torch.zeros(4, 3, dtype=torch.int64)
    assert paired_bootstrap(nothing, nothing, 100).difference == 0.0


@pytest.mark.parametrize("test", [paired_bootstrap, approximate_randomization])
def test_systems_scored_on_different_posts_raise(test):
    a = simulate_system(5, 0.7, seed=0)
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(4, 3\)"):
        test(a, a[:4])
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        test(a[:0], a[:0])
    with pytest.raises(ValueError, match=r"\(5, 2\)"):
        test(a[:, :2], a[:, :2])
    with pytest.raises(ValueError, match="different gold, first in row 3"):
        test(a, a + torch.tensor([[0, 0, int(row == 3)] for row in range(5)]))
