"""Certificates of simulated methods, and of one with random weights."""

import random

import pytest
import torch
from helpers.exchanges import exchange, type_axis

from mmie.metrics import paired_bootstrap
from mmie.reports.certificate.answers import answer_lines
from mmie.reports.certificate.certificate import answer_axes, certify, measure_use
from mmie.reports.certificate.outcomes import PictureOutcomes, exchange_records
from mmie.types import Entity

pytestmark = pytest.mark.slow

TYPES = ("PER", "LOC", "ORG", "MISC")


def simulate(needing, ignoring, others=19, seed=0, helps=True):
    """Simulate a method that reads the type of some posts off the picture.

    Args:
        needing: Number of posts whose type the picture decides.
        ignoring: Number of posts whose type the text decides.
        others: Number of other pictures.
        seed: Seed of the types.
        helps: Whether the right picture shows the right type.
    """
    choose = random.Random(seed)
    count = needing + ignoring
    shown = [choose.choice(TYPES) for _ in range(count)]
    gold = shown if helps else [choose.choice(TYPES) for _ in range(count)]
    blocks = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    blocks = tuple(tuple(block.tolist()) for block in blocks.split(others + 1))
    predictions = []
    for shift in range(others + 1):
        row = [None] * count
        for block in blocks:
            for position, index in enumerate(block):
                giver = block[(position + shift) % len(block)]
                name = shown[giver] if index < needing else gold[index]
                row[index] = [Entity(0, 1, name)]
        predictions.append(row)
    gold_entities = [[Entity(0, 1, name)] for name in gold]
    return exchange(gold_entities, predictions, list(range(count)), blocks)


def measure(exchanged, **settings):
    """Measure the use of pictures by type."""
    outcomes = PictureOutcomes.count(exchanged, exchange_records(exchanged), [type_axis(*TYPES)])
    settings = {"permutations": 499, "resamples": 500, **settings}
    return measure_use(outcomes, exchanged, **settings), outcomes


@pytest.mark.parametrize(("needing", "ignoring"), [(200, 0), (100, 100), (40, 160)])
def test_the_share_that_needs_the_picture_is_estimated(needing, ignoring):
    (total, *types), _ = measure(simulate(needing, ignoring))
    share = needing / 200
    assert total.gold == total.true_answers == 200
    assert total.f1 == 1
    assert total.other_f1 == pytest.approx(1 - 0.75 * share, abs=0.04)
    assert total.difference.value == pytest.approx(total.f1 - total.other_f1)
    assert total.difference.low <= total.difference.value <= total.difference.high
    assert total.lost.value == pytest.approx(0.75 * share, abs=0.04)
    assert total.needing.value == pytest.approx(share, abs=0.04)
    assert total.needing.low <= share + 0.04
    assert total.p_value == 1 / 500
    assert sorted(use.name for use in types) == sorted(TYPES)
    assert sum(use.gold for use in types) == 200
    assert all(use.p_holm >= use.p_value for use in types)


def test_an_unused_picture_has_no_worth():
    (total, *_), _ = measure(simulate(0, 100))
    assert (total.difference.value, total.lost.value, total.needing.value) == (0, 0, 0)
    assert total.p_value == 1


def test_a_method_that_reads_unhelpful_pictures_is_seldom_said_to_need_them():
    claims = 0
    for seed in range(40):
        (total, *_), _ = measure(
            simulate(60, 0, seed=seed, helps=False), resamples=10, permutations=199
        )
        claims += total.p_value < 0.05
    # with a level of 5 percent, more than 6 of 40 has a probability of 0.3 percent
    assert claims <= 6


def test_the_interval_is_that_of_the_paired_bootstrap():
    (total, *_), outcomes = measure(simulate(30, 30))
    right = outcomes.counts[:, 0, 0]  # (pictures, 3)
    others = outcomes.counts[:, 1:, 0].mean(1)  # (pictures, 3)
    expected = paired_bootstrap(right, others, 500)
    assert total.difference.value == pytest.approx(expected.difference)
    assert total.difference.low == pytest.approx(expected.low)
    assert total.difference.high == pytest.approx(expected.high)


@pytest.mark.parametrize("task", ["ner", "re"])
def test_a_real_method_is_certified(build_target, task, tmp_path):
    target = build_target("hvpnet", task)
    certificate, records = certify(
        target, others=3, permutations=99, resamples=50, seed=1, folder=tmp_path
    )
    assert (certificate.method, certificate.task) == ("HVPNet", task)
    assert (certificate.others, certificate.pictures, certificate.posts) == (3, 16, 16)
    assert certificate.posts_with_picture == 16
    assert list(certificate.parts) == [
        "Type",
        "Length of the post",
        "Occurrences of the entity in the training split",
    ]
    for uses in certificate.parts.values():
        assert sum(use.gold for use in uses) == certificate.total.gold > 0
    assert len(answer_lines(records).splitlines()) == len(target.instances)
    again, _ = certify(target, others=3, permutations=99, resamples=50, seed=1)
    assert again == certificate


def test_frequency_is_left_out_without_a_training_split(build_target, tmp_path):
    target = build_target("hvpnet")
    _, records = certify(target, permutations=9, resamples=9, folder=tmp_path)

    class NoTraining:
        def posts(self, split):
            raise FileNotFoundError(split)

    titles = [axis.title for axis in answer_axes(records, NoTraining())]
    assert titles == ["Type", "Length of the post"]


def test_all_parts_share_the_permutations():
    exchanged = simulate(20, 0)
    (total, *_), _ = measure(exchanged)
    outcomes = PictureOutcomes.count(exchanged, exchange_records(exchanged), [])
    (alone,) = measure_use(outcomes, exchanged, 499, 500)
    assert alone.p_value == total.p_value
    assert len(outcomes.parts) == 1
