"""The permutation test of pictures against enumeration in plain Python."""

from itertools import combinations, permutations, product

import numpy
import pytest
import scipy.stats
import torch

from mmie.metrics import (
    ExchangeBlocks,
    exchange_p_values,
    mean_of_others,
    needed_answers,
    share_needing,
)


def random_outcomes(pictures, seed):
    """Draw counts of the posts of each picture with each picture, (receiver, giver, 3)."""
    random = numpy.random.default_rng(seed)
    gold = random.integers(1, 4, size=pictures)
    true_positives = random.integers(0, gold[:, None] + 1, size=(pictures, pictures))
    predicted = true_positives + random.integers(0, 2, size=(pictures, pictures))
    golds = numpy.broadcast_to(gold[:, None], predicted.shape)
    return numpy.stack([true_positives, predicted, golds], axis=2)


def as_counts(outcomes, blocks):
    """Arrange outcomes by shift, (pictures, shifts, 1, 3)."""
    counts = torch.zeros(len(outcomes), blocks.num_shifts, 1, 3)
    for shift in range(blocks.num_shifts):
        for receiver, giver in blocks.partners(shift).items():
            counts[receiver, shift, 0] = torch.tensor(outcomes[receiver, giver])
    return counts


def f1_of(outcomes, assignment, fixed=(0, 0, 0)):
    """Compute micro F1 of an assignment of pictures to receivers."""
    total = list(fixed)
    for receiver, giver in assignment.items():
        for column in range(3):
            total[column] += int(outcomes[receiver, giver, column])
    return 2 * total[0] / (total[1] + total[2])


def all_assignments(blocks):
    """List every permutation within the blocks."""
    assignments = []
    for orders in product(*(permutations(block) for block in blocks)):
        assignment = {}
        for block, order in zip(blocks, orders, strict=True):
            assignment.update(zip(block, order, strict=True))
        assignments.append(assignment)
    return assignments


@pytest.mark.parametrize("pictures", [3, 4, 6])
@pytest.mark.parametrize("others", [1, 2, 5])
def test_small_p_values_equal_enumeration(pictures, others):
    blocks = ExchangeBlocks.draw(pictures, others, seed=pictures)
    outcomes = random_outcomes(pictures, seed=others)
    fixed = (2, 3, 4)
    right = f1_of(outcomes, {index: index for index in range(pictures)}, fixed)
    scores = [f1_of(outcomes, assignment, fixed) for assignment in all_assignments(blocks.blocks)]
    expected = sum(score >= right - 1e-12 for score in scores) / len(scores)
    counts = as_counts(outcomes, blocks)
    p = exchange_p_values(counts, torch.tensor([fixed]), blocks)
    assert p.dtype == torch.float64
    assert p.tolist() == [expected]


def test_drawn_p_values_approach_enumeration():
    blocks = ExchangeBlocks.draw(7, 6, seed=0)
    for seed in range(4):
        outcomes = random_outcomes(7, seed)
        counts, fixed = as_counts(outcomes, blocks), torch.zeros(1, 3)
        exact = exchange_p_values(counts, fixed, blocks, resamples=5040).item()
        drawn = exchange_p_values(counts, fixed, blocks, resamples=5000, max_draws=7000).item()
        assert drawn == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 5000) ** 0.5 + 1e-3)
        assert drawn * 5001 == pytest.approx(round(drawn * 5001))


def test_the_p_value_equals_that_of_scipy():
    outcomes = random_outcomes(6, seed=3)
    blocks = ExchangeBlocks.draw(6, 5, seed=0)

    def statistic(pictures):
        return f1_of(outcomes, dict(enumerate(pictures.astype(int))))

    reference = scipy.stats.permutation_test(
        (numpy.arange(6),),
        statistic,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=numpy.inf,
        vectorized=False,
    )
    p = exchange_p_values(as_counts(outcomes, blocks), torch.zeros(1, 3), blocks)
    assert p.item() == pytest.approx(reference.pvalue)


def test_the_test_is_exact_if_every_assignment_was_equally_likely():
    # each permutation takes its turn as the right one: exactly the share k/24 may have p <= k/24
    outcomes = random_outcomes(4, seed=8)
    p_values = []
    for order in permutations(range(4)):
        blocks = ExchangeBlocks(((0, 1, 2, 3),))
        counts = as_counts(outcomes[:, list(order)], blocks)
        p_values.append(exchange_p_values(counts, torch.zeros(1, 3), blocks).item())
    for level in range(1, 25):
        share = sum(p <= level / 24 + 1e-9 for p in p_values) / 24
        assert share <= level / 24 + 1e-9
    assert min(p_values) <= 2 / 24
    assert max(p_values) == 1


def test_random_permutations_of_several_blocks_are_exact_on_average():
    claims, runs = 0, 300
    for seed in range(runs):
        blocks = ExchangeBlocks.draw(24, 5, seed)
        counts = as_counts(random_outcomes(24, seed), blocks)
        p = exchange_p_values(counts, torch.zeros(1, 3), blocks, resamples=199, seed=seed)
        claims += p.item() <= 0.2
    # scores with ties make the test conservative
    assert scipy.stats.binomtest(claims, runs, 0.2, "greater").pvalue > 0.001
    assert claims / runs > 0.1


def test_an_answer_that_needs_its_picture_is_significant():
    outcomes = numpy.zeros((30, 30, 3), dtype=int)
    outcomes[..., 1:] = 1
    outcomes[range(30), range(30), 0] = 1
    blocks = ExchangeBlocks.draw(30, 9, seed=0)
    counts = as_counts(outcomes, blocks)
    p = exchange_p_values(counts, torch.zeros(1, 3), blocks, resamples=999)
    assert p.item() == 1 / 1000


def test_a_model_that_ignores_pictures_has_p_1():
    outcomes = random_outcomes(30, seed=0)
    outcomes[:] = outcomes[:, :1]
    blocks = ExchangeBlocks.draw(30, 9, seed=0)
    p = exchange_p_values(as_counts(outcomes, blocks), torch.zeros(1, 3), blocks, resamples=99)
    assert p.item() == 1


@pytest.mark.parametrize(("pictures", "others"), [(3, 9), (20, 9), (29, 9), (30, 9), (5, 1)])
def test_blocks_partition_the_pictures_and_shifts_are_derangements(pictures, others):
    blocks = ExchangeBlocks.draw(pictures, others, seed=1)
    assert sorted(sum(blocks.blocks, ())) == list(range(pictures))
    sizes = [len(block) for block in blocks.blocks]
    assert min(sizes) >= min(others + 1, pictures)
    assert max(sizes) - min(sizes) <= 1
    assert blocks.num_pictures == pictures
    seen = {index: set() for index in range(pictures)}
    for shift in range(blocks.num_shifts):
        for receiver, giver in blocks.partners(shift).items():
            assert (receiver == giver) == (shift == 0)
            seen[receiver].add(giver)
    for block in blocks.blocks:
        for index in block:
            assert seen[index] == set(block)
            assert blocks.block_sizes[index] == len(block)


def test_the_mean_is_over_the_others_of_each_block():
    blocks = ExchangeBlocks(((0, 1, 2), (3, 4)))
    values = torch.tensor([[9, 1, 2], [9, 3, 5], [9, 7, 8], [9, 6, 0], [9, 4, 0]])
    assert mean_of_others(values, blocks).tolist() == [1.5, 4, 7.5, 6, 4]


@pytest.mark.parametrize("found", [(1, 0, 1, 1), (0, 1, 0, 1), (1, 0, 0), (0, 0, 0, 0, 1)])
def test_gains_and_squares_equal_loops(found):
    gain, squared = needed_answers(torch.tensor(found))
    right, *others = found
    assert gain == pytest.approx(sum(right - other for other in others) / len(others))
    pairs = [(right - a) * (right - b) for a, b in combinations(others, 2)]
    assert squared == pytest.approx(sum(pairs) / len(pairs))


def test_the_share_is_right_if_other_pictures_show_the_same_by_chance():
    random = numpy.random.default_rng(0)
    for share, chance in ((0.25, 0.25), (0.5, 0.6), (1.0, 0.25)):
        needing = int(2000 * share)
        survives = numpy.ones((2000, 19), dtype=int)
        survives[:needing] = random.random((needing, 19)) < chance
        rows = numpy.concatenate([numpy.ones((2000, 1), dtype=int), survives], axis=1)
        sums = torch.tensor([needed_answers(torch.tensor(row)) for row in rows]).double().sum(0)
        estimate = share_needing(sums[0], sums[1], torch.tensor(2000.0))
        assert estimate.item() == pytest.approx(share, abs=0.02)
        assert sums[0].item() / 2000 == pytest.approx(share * (1 - chance), abs=0.02)


def test_the_share_is_near_0_if_the_right_picture_is_like_the_others():
    random = numpy.random.default_rng(1)
    shares = []
    for _ in range(50):
        rows = (random.random((200, 20)) < 0.5).astype(int)
        sums = torch.tensor([needed_answers(torch.tensor(row)) for row in rows]).double().sum(0)
        found = torch.tensor(float(rows[:, 0].sum()))
        shares.append(share_needing(sums[0], sums[1], found).item())
    assert numpy.mean(shares) < 0.02


def test_the_share_is_0_without_gain_or_answers():
    zero, one = torch.tensor(0.0), torch.tensor(1.0)
    assert share_needing(zero, one, one).item() == 0
    assert share_needing(-one, one, one).item() == 0
    assert share_needing(one, one, zero).item() == 0
