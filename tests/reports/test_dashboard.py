"""Answers and comparisons as W&B's charts and tables, read without a run."""

import json
from dataclasses import replace

import pytest
from helpers.command import write_jsonl
from PIL import Image

from mmie.reports.dashboard import (
    comparison_tables,
    confusion_chart,
    prediction_media,
    prediction_table,
)
from mmie.runs import PredictionRecord, RunError
from mmie.types import Entity

WORDS = ("Jordan", "lands", "in", "New", "York")
PERSON, PLACE, TEAM = Entity(0, 1, "PER"), Entity(3, 5, "LOC"), Entity(3, 5, "ORG")
RIGHT = PredictionRecord("right", WORDS, None, (PERSON, PLACE), (PLACE, PERSON))
WRONG = PredictionRecord("wrong", WORDS, None, (PERSON, PLACE), (TEAM,))
EMPTY = PredictionRecord("empty", WORDS, None, (), (PERSON,))


def rows(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.data]


def cells(chart):
    return {
        (row["Actual"], row["Predicted"]): row["nPredictions"]
        for row in rows(chart.table)
        if row["nPredictions"]
    }


def test_wrong_answers_come_first_in_the_order_of_the_split():
    predictions = [RIGHT, EMPTY, replace(RIGHT, id="again"), WRONG]
    assert [row["id"] for row in rows(prediction_table(predictions))] == [
        "empty",
        "wrong",
        "right",
        "again",
    ]
    assert [row["right"] for row in rows(prediction_table(predictions))] == [
        False,
        False,
        True,
        True,
    ]
    assert [row["id"] for row in rows(prediction_table(predictions, rows=3))] == [
        "empty",
        "wrong",
        "right",
    ]


def test_a_row_says_what_is_right_and_what_was_found():
    (row,) = rows(prediction_table([WRONG]))
    assert row["text"] == "Jordan lands in New York"
    assert (row["gold"], row["predicted"]) == ("Jordan [PER]; New York [LOC]", "New York [ORG]")
    assert rows(prediction_table([EMPTY]))[0]["gold"] == ""


def test_a_relation_is_shown_with_both_its_ends():
    found = PredictionRecord(
        "r", WORDS, None, (Entity(0, 1, "/per/loc/at"),), (), (Entity(0, 1), Entity(3, 5))
    )
    (row,) = rows(prediction_table([found]))
    assert row["gold"] == "Jordan \N{RIGHTWARDS ARROW} New York [/per/loc/at]"
    assert row["predicted"] == "Jordan \N{RIGHTWARDS ARROW} New York [None]"
    assert not row["right"]


def test_pictures_are_small_and_missing_ones_stay_empty(tmp_path):
    Image.new("RGB", (1000, 500)).save(tmp_path / "wide.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    names = ["wide.png", "broken.png", "absent.png"]
    predictions = [replace(WRONG, image=str(tmp_path / name)) for name in names]
    first, *others = (row["picture"] for row in rows(prediction_table([*predictions, WRONG])))
    assert max(first.image.size) < 400
    assert first.image.size[0] == 2 * first.image.size[1]
    assert others == [None, None, None]


def test_the_confusion_matrix_counts_what_was_missed_and_made_up():
    chart = confusion_chart([RIGHT, WRONG, EMPTY])
    assert cells(chart) == {
        ("PER", "PER"): 1,
        ("LOC", "LOC"): 1,
        ("LOC", "ORG"): 1,
        ("PER", "nothing"): 1,
        ("nothing", "PER"): 1,
    }
    assert len(chart.table.data) == 4 * 4


def test_a_file_of_predictions_is_read(tmp_path):
    relation = {
        "head": {"start": 0, "end": 1, "type": "PER"},
        "tail": {"start": 3, "end": 5, "type": "LOC"},
    }
    line = {"id": "1", "words": WORDS, "image": None, "gold": {**relation, "label": "at"}}
    write_jsonl(
        tmp_path / "predictions_none.jsonl", [{**line, "predicted": {**relation, "label": "None"}}]
    )
    found = prediction_media(tmp_path / "predictions_none.jsonl")
    assert cells(found["confusion"]) == {("at", "nothing"): 1}
    assert [row["id"] for row in rows(found["predictions"])] == ["1"]
    (tmp_path / "predictions.jsonl").write_text("{}\n")
    with pytest.raises(RunError, match=r"predictions\.jsonl:1"):
        prediction_media(tmp_path / "predictions.jsonl")


def test_a_comparison_is_a_row_a_system_and_a_row_a_pair(tmp_path):
    def system(name, f1, std, published):
        scores = {
            score: {"mean": f1, "std": std, "values": [f1]}
            for score in ("precision", "recall", "f1")
        }
        return {"name": name, "seeds": [1, 2], "scores": scores, "published": published}

    numbers = {
        "low": 0.1,
        "high": 0.3,
        "p_bootstrap": 0.01,
        "p_randomization": 0.02,
        "p_holm": 0.04,
    }
    pair = {"first": "A", "second": "B", "seeds": [[1, 1]], "difference": 0.25, **numbers}
    systems = [system("A", 0.75, 0.01, {"scores": {"f1": 80.0}}), system("B", 0.5, None, None)]
    one = {"corpus": "MNRE", "task": "re", "rows": systems, "differences": [pair]}
    (tmp_path / "comparison.json").write_text(
        json.dumps({"comparisons": [one, {**one, "differences": []}]})
    )
    tables = comparison_tables(tmp_path)
    assert len(tables["scores"].data) == 4
    first, second = rows(tables["scores"])[:2]
    assert (
        first["system"],
        first["seeds"],
        first["f1"],
        first["f1 std"],
        first["published f1"],
    ) == (
        "A",
        2,
        0.75,
        0.01,
        pytest.approx(0.8),
    )
    assert (second["f1 std"], second["published f1"]) == (None, None)
    shown = {name: value for name, value in pair.items() if name != "seeds"}
    assert rows(tables["pairs"]) == [{"corpus": "MNRE", "task": "re", **shown}]
