"""Iterative stratification: exact shares where they exist, and better than chance elsewhere."""

import random
from collections import Counter

import pytest

from mmie.data.corpora.stratification import stratify

SHARES = (0.8, 0.1, 0.1)


def deviation(labels, splits):
    """Return the largest difference of a label's share in a split from the split's own."""
    total = sum(labels, Counter())
    counts = [Counter() for _ in SHARES]
    for label, split in zip(labels, splits, strict=True):
        counts[split] += label
    return max(
        abs(counts[split][name] / total[name] - share)
        for split, share in enumerate(SHARES)
        for name in total
    )


def test_shares_that_exist_are_exact():
    labels = [Counter({name: 1}) for name in "abc" for _ in range(10 * (1 + ord(name) - ord("a")))]
    splits = stratify(labels, [1] * 60, SHARES)
    assert Counter(splits) == {0: 48, 1: 6, 2: 6}
    assert deviation(labels, splits) < 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_closer_to_their_shares_than_by_chance(seed):
    numbers = random.Random(seed)
    labels = []
    for _ in range(300):
        names = numbers.choices("abcdefg", [64, 32, 16, 8, 4, 2, 2], k=numbers.randint(0, 4))
        labels.append(Counter(names))
    sizes = [numbers.randint(1, 3) for _ in labels]
    splits = stratify(labels, sizes, SHARES, seed)
    shuffled = [deviation(labels, numbers.sample(splits, len(splits))) for _ in range(20)]
    assert deviation(labels, splits) < min(shuffled)
    assert deviation(labels, splits) < 0.1


def test_seeds_and_splits_without_a_share():
    labels = [Counter({"a": 1})] * 20
    first = stratify(labels, [1] * 20, (0.5, 0.5), seed=1)
    assert first == stratify(labels, [1] * 20, (0.5, 0.5), seed=1)
    assert first != stratify(labels, [1] * 20, (0.5, 0.5), seed=2)
    assert set(stratify(labels, [1] * 20, (1.0, 0.0))) == {0}
    assert stratify([], [], (0.5, 0.5)) == []
