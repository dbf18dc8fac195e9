"""Scores by type are those that the test has logged."""

from helpers.command import write_jsonl
from helpers.run_folders import entity, prediction_line

from mmie.metrics import SpanF1
from mmie.runs.predictions import read_prediction_file
from mmie.training.type_scores import read_type_scores, type_table

TYPES = ("LOC", "MISC", "ORG", "PER")
LINES = [
    prediction_line("1", [entity(0, "PER"), entity(3, "LOC")], [entity(0, "PER")]),
    prediction_line("2", [entity(0, "PER")], [entity(0, "ORG"), entity(3, "LOC")]),
]


def test_occurring_types_are_scored_as_the_metric_does_the_frequent_first(tmp_path):
    file = tmp_path / "predictions.jsonl"
    write_jsonl(file, LINES)
    scores = read_type_scores(file, TYPES)
    assert list(scores) == ["PER", "LOC", "ORG"], "MISC neither occurs nor is predicted"
    metric = SpanF1(TYPES)
    records = read_prediction_file(file)
    metric.update([record.predicted for record in records], [record.gold for record in records])
    logged = metric.compute()
    for name, of_type in scores.items():
        assert abs(of_type.f1 - logged[f"f1/{name}"].item()) < 1e-6
    assert (scores["PER"].precision, scores["PER"].recall, scores["PER"].support) == (1.0, 0.5, 2)


def test_the_table_is_in_percent(tmp_path):
    file = tmp_path / "predictions.jsonl"
    write_jsonl(file, LINES)
    columns = [list(column.cells) for column in type_table(read_type_scores(file, TYPES)).columns]
    rows = list(zip(*columns, strict=True))
    assert rows[0] == ("PER", "100.00", "50.00", "66.67", "2")


def test_types_without_predictions_give_no_row(tmp_path):
    file = tmp_path / "predictions.jsonl"
    write_jsonl(file, [])
    assert read_type_scores(file, TYPES) == {}
