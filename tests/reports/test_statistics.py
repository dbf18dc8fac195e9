"""Scores of predictions, compared with literal versions."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from helpers.records import TYPES, build_record, random_records
from helpers.run_folders import write_run

from mmie.metrics import RelationF1, micro
from mmie.reports.statistics import (
    confusion_matrix,
    mean_and_deviation,
    post_counts,
    scores_by_bucket,
    scores_by_type,
    scores_of_runs,
    types_by_frequency,
)
from mmie.runs import PredictionRecord, read_run
from mmie.types import Entity


def test_counts_of_instances_of_one_post_are_added_up():
    predictions = [
        build_record([(0, "PER")], [(0, "PER")], "x"),
        build_record([(1, "LOC")], [(1, "PER"), (2, "PER")], "y"),
        build_record([(2, "PER")], [], "x"),
    ]
    assert post_counts(predictions).tolist() == [[1, 1, 2], [0, 2, 1]]


def test_relations_are_scored_as_by_the_metric_of_relations():
    labels = ["None", "a", "b"]
    draws = random.Random(3)
    gold, predicted = ([draws.choice(labels) for _ in range(60)] for _ in range(2))
    as_entity = {label: () if label == "None" else (Entity(0, 1, label),) for label in labels}
    predictions = []
    for index, (true, found) in enumerate(zip(gold, predicted, strict=True)):
        entities = as_entity[true], as_entity[found]
        predictions.append(PredictionRecord(str(index), ("x",), None, *entities))
    metric = RelationF1(labels)
    metric.update(
        torch.tensor([labels.index(label) for label in predicted]),
        torch.tensor([labels.index(label) for label in gold]),
    )
    expected = {name: value.item() for name, value in metric.compute().items()}
    assert micro(post_counts(predictions)).f1 == pytest.approx(expected["f1"])
    by_type = scores_by_type(predictions, ("a", "b"))
    for label in ("a", "b"):
        assert by_type[label].f1 == pytest.approx(expected[f"f1/{label}"])


def test_mean_and_sample_deviation():
    score = mean_and_deviation([0.2, 0.4, 0.9])
    assert score.mean == pytest.approx(np.mean([0.2, 0.4, 0.9]))
    assert score.std == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
    assert score.values == (0.2, 0.4, 0.9)
    assert mean_and_deviation([0.2]).std is None


def test_scores_of_runs_are_averaged(tmp_path):
    runs = [read_run(write_run(tmp_path / str(f1), f1=f1)) for f1 in (0.25, 0.75)]
    scores = scores_of_runs(runs)
    assert list(scores) == ["precision", "recall", "f1"]
    assert scores["recall"] == mean_and_deviation([0.25, 0.75])
    assert list(scores_of_runs(runs, ["f1"])) == ["f1"]


def test_types_are_ordered_by_their_gold():
    run = [build_record([(0, "A"), (1, "B")], [(2, "Z")]), build_record([(0, "B")], [])]
    assert types_by_frequency([run]) == ["B", "A", "Z"]


def test_confusions_are_added_up_over_runs():
    first = [build_record([(0, "PER"), (1, "LOC")], [(0, "LOC"), (2, "PER")])]
    second = [build_record([(0, "PER"), (1, "LOC")], [(0, "PER"), (1, "LOC")])]
    assert confusion_matrix([first, second], TYPES) == [[1, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_scores_by_bucket_equal_a_literal_version():
    predictions = random_records(1)
    scores = scores_by_bucket(
        predictions, lambda prediction, entity: "early" if entity.start < 2 else "late"
    )
    for name, starts in (("early", (0, 1)), ("late", (2, 3))):
        counts = Counter()
        for prediction in predictions:
            gold = {entity for entity in prediction.gold if entity.start in starts}
            predicted = {entity for entity in prediction.predicted if entity.start in starts}
            counts += Counter(tp=len(gold & predicted), predicted=len(predicted), gold=len(gold))
        expected = 2 * counts["tp"] / (counts["predicted"] + counts["gold"])
        assert scores[name].f1 == pytest.approx(expected)
        assert scores[name].support == counts["gold"]
