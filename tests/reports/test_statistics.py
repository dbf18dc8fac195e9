"""Scores of answers and tests of significance against literal versions and scipy."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from mmie.metrics import RelationF1, micro
from mmie.reports.statistics import (
    confusion,
    difference,
    disagreements,
    holm,
    pair_seeds,
    post_counts,
    scores_by_type,
    sliced,
    spread,
    types_of,
)
from mmie.runs import PredictionRecord
from mmie.types import Entity

TYPES = ("PER", "LOC")


def prediction(gold, predicted, name="1", words=("a", "b", "c", "d"), image=None):
    """An answer from (start, type) pairs of entities of one word."""
    entities = [
        tuple(Entity(start, start + 1, kind) for start, kind in given)
        for given in (gold, predicted)
    ]
    return PredictionRecord(name, tuple(words), image, *entities)


def random_answers(seed, posts=40, quality=0.6):
    """Answers to posts whose gold does not depend on the seed."""
    golds, draws = random.Random(0), random.Random(seed)
    predictions = []
    for number in range(posts):
        gold = [(place, golds.choice(TYPES)) for place in range(4) if golds.random() < 0.5]
        found = [
            (place, kind if draws.random() < quality else draws.choice(TYPES))
            for place, kind in gold
        ]
        found += [
            (place, "PER") for place in range(4) if draws.random() < 0.1 and place not in dict(gold)
        ]
        predictions.append(prediction(gold, found, str(number)))
    return predictions


def literal_f1(counts):
    return 2 * counts[:, 0].sum() / (counts[:, 1].sum() + counts[:, 2].sum())


def test_counts_of_instances_of_one_post_are_added_up():
    predictions = [
        prediction([(0, "PER")], [(0, "PER")], "x"),
        prediction([(1, "LOC")], [(1, "PER"), (2, "PER")], "y"),
        prediction([(2, "PER")], [], "x"),
    ]
    assert post_counts(predictions).tolist() == [[1, 1, 2], [0, 2, 1]]


def test_relations_are_scored_as_the_metric_of_relations_scores_them():
    labels = ["None", "a", "b"]
    draws = random.Random(3)
    gold, found = ([draws.choice(labels) for _ in range(60)] for _ in range(2))
    as_entity = {label: () if label == "None" else (Entity(0, 1, label),) for label in labels}
    pairs = enumerate(zip(gold, found, strict=True))
    predictions = [
        PredictionRecord(str(n), ("x",), None, as_entity[right], as_entity[given])
        for n, (right, given) in pairs
    ]
    metric = RelationF1(labels)
    metric.update(
        *(torch.tensor([labels.index(label) for label in given]) for given in (found, gold))
    )
    expected = {name: value.item() for name, value in metric.compute().items()}
    assert micro(post_counts(predictions)).f1 == pytest.approx(expected["f1"])
    for label in ("a", "b"):
        assert scores_by_type(predictions, ("a", "b"))[label].f1 == pytest.approx(
            expected[f"f1/{label}"]
        )


def test_spread_is_mean_and_sample_deviation():
    found = spread([0.2, 0.4, 0.9])
    assert found.mean == pytest.approx(np.mean([0.2, 0.4, 0.9]))
    assert found.std == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
    assert spread([0.2]).std is None


def test_types_are_ordered_by_their_gold():
    run = [prediction([(0, "A"), (1, "B")], [(2, "Z")]), prediction([(0, "B")], [])]
    assert types_of([run]) == ["B", "A", "Z"]


def test_confusions_are_added_up_over_runs():
    first = [prediction([(0, "PER"), (1, "LOC")], [(0, "LOC"), (2, "PER")])]
    second = [prediction([(0, "PER"), (1, "LOC")], [(0, "PER"), (1, "LOC")])]
    assert confusion([first, second], TYPES) == [[1, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_slices_against_a_literal_version():
    predictions = random_answers(1)
    found = sliced(predictions, lambda given, entity: "early" if entity.start < 2 else "late")
    for name, places in (("early", (0, 1)), ("late", (2, 3))):
        counts = Counter()
        for given in predictions:
            gold, predicted = (
                {e for e in es if e.start in places} for es in (given.gold, given.predicted)
            )
            counts += Counter(tp=len(gold & predicted), predicted=len(predicted), gold=len(gold))
        assert found[name].f1 == pytest.approx(
            2 * counts["tp"] / (counts["predicted"] + counts["gold"])
        )
        assert found[name].support == counts["gold"]


def test_differences_agree_with_scipy():
    first, second = (
        post_counts(random_answers(seed, 60, quality)) for seed, quality in ((1, 0.75), (2, 0.6))
    )

    def statistic(a, b):
        return literal_f1(a) - literal_f1(b)

    found = difference(("x", {1: first}), ("y", {1: second}), 10_000)
    assert found.difference == pytest.approx(statistic(first.numpy(), second.numpy()))
    places = np.arange(len(first))

    def by_place(drawn):
        return statistic(first.numpy()[drawn], second.numpy()[drawn])

    interval = stats.bootstrap(
        (places,),
        by_place,
        vectorized=False,
        n_resamples=4_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.01)

    def swapped(
        a, b
    ):  # each post is its place; beyond the number of posts it is the second system's answer
        both = np.concatenate([first.numpy(), second.numpy()])
        return statistic(both[a.astype(int)], both[b.astype(int)])

    p = stats.permutation_test(
        (places, places + len(places)),
        swapped,
        permutation_type="samples",
        n_resamples=4_000,
        rng=np.random.default_rng(0),
    ).pvalue
    assert found.p_randomization == pytest.approx(p, abs=0.03)
    assert found.p_bootstrap == pytest.approx(p, abs=0.05)


def test_seeds_are_pooled_by_post_so_that_copies_are_no_evidence():
    first, second = (
        post_counts(random_answers(seed, 30, quality)) for seed, quality in ((1, 0.7), (2, 0.6))
    )
    once = difference(("x", {1: first}), ("y", {1: second}), 2_000)
    copied = difference(
        ("x", dict.fromkeys(range(5), first)), ("y", dict.fromkeys(range(5), second)), 2_000
    )
    assert copied.p_bootstrap == once.p_bootstrap
    assert copied.p_randomization == once.p_randomization
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert copied.seeds == tuple((seed, seed) for seed in range(5))


def test_runs_of_equal_seed_are_paired():
    assert pair_seeds([3, 1, 2], [2, 3]) == ((2, 2), (3, 3))
    assert pair_seeds([2, 1], [9]) == ((1, 9),)


def test_p_values_are_adjusted_as_holm_says():
    assert holm([0.001, 0.2, 0.013, 0.04, 0.04]) == pytest.approx([0.005, 0.2, 0.052, 0.12, 0.12])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_disagreement_is_ranked_by_errors_then_by_variety():
    gold = [(0, "PER"), (1, "LOC")]
    agreed = prediction(gold, [(0, "LOC")])
    systems = {
        "a": [
            agreed,
            prediction(gold, gold),
            prediction(gold, gold),
            prediction(gold, [(0, "PER")]),
        ],
        "b": [
            agreed,
            prediction(gold, [(0, "LOC"), (1, "PER")]),
            prediction(gold, [(0, "PER")]),
            prediction(gold, [(1, "LOC")]),
        ],
    }
    assert disagreements(systems, 5) == [1, 2, 3]
    assert disagreements(systems, 1) == [1]
    assert disagreements({"a": systems["a"]}, 5) == []
