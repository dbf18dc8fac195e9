"""Differences between systems, compared with scipy."""

import numpy as np
import pytest
from helpers.records import build_record, random_records
from scipy import stats

from mmie.reports.significance import (
    Difference,
    SystemCounts,
    adjust_p_values,
    compare_systems,
    holm_correction,
    pair_seeds,
)
from mmie.reports.statistics import post_counts


def literal_f1(counts):
    return 2 * counts[:, 0].sum() / (counts[:, 1].sum() + counts[:, 2].sum())


def random_counts(seed, posts, quality):
    return post_counts(random_records(seed, posts, quality))


def test_differences_agree_with_scipy():
    first, second = random_counts(1, 60, 0.75), random_counts(2, 60, 0.6)

    def statistic(a, b):
        return literal_f1(a) - literal_f1(b)

    found = compare_systems(SystemCounts("x", {1: first}), SystemCounts("y", {1: second}), 10_000)
    assert (found.first, found.second) == ("x", "y")
    assert found.difference == pytest.approx(statistic(first.numpy(), second.numpy()))
    posts = np.arange(len(first))

    def by_post(drawn):
        return statistic(first.numpy()[drawn], second.numpy()[drawn])

    interval = stats.bootstrap(
        (posts,),
        by_post,
        vectorized=False,
        n_resamples=4_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.01)

    def swapped(a, b):
        # A number below that of the posts stands for the first system's prediction for a post, a
        # higher one for the second system's.
        both = np.concatenate([first.numpy(), second.numpy()])
        return statistic(both[a.astype(int)], both[b.astype(int)])

    p = stats.permutation_test(
        (posts, posts + len(posts)),
        swapped,
        permutation_type="samples",
        n_resamples=4_000,
        rng=np.random.default_rng(0),
    ).pvalue
    assert found.p_randomization == pytest.approx(p, abs=0.03)
    assert found.p_bootstrap == pytest.approx(p, abs=0.05)


def test_copies_of_a_run_do_not_change_the_p_values():
    first, second = random_counts(1, 30, 0.7), random_counts(2, 30, 0.6)
    once = compare_systems(SystemCounts("x", {1: first}), SystemCounts("y", {1: second}), 2_000)
    copied = compare_systems(
        SystemCounts("x", dict.fromkeys(range(5), first)),
        SystemCounts("y", dict.fromkeys(range(5), second)),
        2_000,
    )
    assert once.p_bootstrap > 0.1  # the smallest p-value of one seed
    assert copied.p_bootstrap == once.p_bootstrap
    assert copied.p_randomization == once.p_randomization
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert copied.seeds == tuple((seed, seed) for seed in range(5))


def test_predictions_are_counted_by_seed():
    records = [build_record([(0, "PER")], [(0, "PER"), (1, "LOC")])]
    counts = SystemCounts.from_predictions("x", {7: records})
    assert counts.name == "x"
    assert counts.by_seed[7].tolist() == [[1, 2, 1]]


def test_runs_of_equal_seed_are_paired():
    assert pair_seeds([3, 1, 2], [2, 3]) == ((2, 2), (3, 3))
    assert pair_seeds([2, 1], [9]) == ((1, 9),)


def test_p_values_are_adjusted_by_holms_method():
    p_values = [0.001, 0.2, 0.013, 0.04, 0.04]
    expected = [0.005, 0.2, 0.052, 0.12, 0.12]
    assert holm_correction(p_values) == pytest.approx(expected)
    assert holm_correction([0.5, 0.9]) == [1.0, 1.0]
    assert holm_correction([]) == []
    numbers = {"difference": 0.0, "low": 0.0, "high": 0.0, "p_randomization": 1.0}
    differences = [Difference("x", "y", (), **numbers, p_bootstrap=p) for p in p_values]
    adjusted = adjust_p_values(differences)
    assert [difference.p_holm for difference in adjusted] == pytest.approx(expected)
    assert [difference.p_bootstrap for difference in adjusted] == p_values
