"""Predictions and comparisons as charts and tables of W&B, without a run."""

import json
from dataclasses import replace

import pytest
from helpers.command import write_jsonl
from PIL import Image

from mmie.reports.dashboard import (
    comparison_tables,
    comparison_verdicts,
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
    """Return the rows of a table as dictionaries."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.data]


def cells(chart):
    """Return the counts of a confusion matrix that are not 0."""
    return {
        (row["Actual"], row["Predicted"]): row["nPredictions"]
        for row in rows(chart.table)
        if row["nPredictions"]
    }


def test_wrong_predictions_come_first_in_the_order_of_the_split():
    predictions = [RIGHT, EMPTY, replace(RIGHT, id="again"), WRONG]
    table = rows(prediction_table(predictions))
    assert [row["id"] for row in table] == ["empty", "wrong", "right", "again"]
    assert [row["right"] for row in table] == [False, False, True, True]
    short_table = rows(prediction_table(predictions, rows=3))
    assert [row["id"] for row in short_table] == ["empty", "wrong", "right"]


def test_a_row_holds_gold_and_predicted_entities():
    (row,) = rows(prediction_table([WRONG]))
    assert row["text"] == "Jordan lands in New York"
    assert (row["gold"], row["predicted"]) == ("Jordan [PER]; New York [LOC]", "New York [ORG]")
    assert rows(prediction_table([EMPTY]))[0]["gold"] == ""


def test_a_relation_is_shown_with_both_arguments():
    label = Entity(0, 1, "/per/loc/at")
    record = PredictionRecord("r", WORDS, None, (label,), (), (Entity(0, 1), Entity(3, 5)))
    (row,) = rows(prediction_table([record]))
    assert row["gold"] == "Jordan \N{RIGHTWARDS ARROW} New York [/per/loc/at]"
    assert row["predicted"] == "Jordan \N{RIGHTWARDS ARROW} New York [None]"
    assert not row["right"]


def test_pictures_are_shrunk_and_missing_ones_are_empty(tmp_path):
    Image.new("RGB", (1000, 500)).save(tmp_path / "wide.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    names = ["wide.png", "broken.png", "absent.png"]
    predictions = [replace(WRONG, image=str(tmp_path / name)) for name in names]
    first, *others = (row["picture"] for row in rows(prediction_table([*predictions, WRONG])))
    assert max(first.image.size) < 400
    assert first.image.size[0] == 2 * first.image.size[1]
    assert others == [None, None, None]


def test_the_confusion_matrix_counts_missed_and_spurious_entities():
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
    media = prediction_media(tmp_path / "predictions_none.jsonl")
    assert cells(media["confusion"]) == {("at", "nothing"): 1}
    assert [row["id"] for row in rows(media["predictions"])] == ["1"]
    (tmp_path / "predictions.jsonl").write_text("{}\n")
    with pytest.raises(RunError, match=r"predictions\.jsonl:1"):
        prediction_media(tmp_path / "predictions.jsonl")


def test_a_comparison_has_a_row_for_each_system_and_each_pair(tmp_path):
    def system(name, f1, std, published):
        score = {"mean": f1, "std": std, "values": [f1]}
        scores = dict.fromkeys(("precision", "recall", "f1"), score)
        return {"name": name, "seeds": [1, 2], "scores": scores, "published": published}

    p_values = {"p_bootstrap": 0.01, "p_randomization": 0.02, "p_holm": 0.04}
    cells_of_pair = {
        "first": "A",
        "second": "B",
        "difference": 0.25,
        "low": 0.1,
        "high": 0.3,
        **p_values,
    }
    pair = {**cells_of_pair, "seeds": [[1, 1]]}
    systems = [system("A", 0.75, 0.01, {"scores": {"f1": 80.0}}), system("B", 0.5, None, None)]
    comparison = {"corpus": "MNRE", "task": "re", "rows": systems, "differences": [pair]}
    content = {"comparisons": [comparison, {**comparison, "differences": []}]}
    (tmp_path / "comparison.json").write_text(json.dumps(content))
    tables = comparison_tables(tmp_path)
    assert len(tables["scores"].data) == 4
    first, second = rows(tables["scores"])[:2]
    assert (first["system"], first["seeds"], first["f1"], first["f1 std"]) == ("A", 2, 0.75, 0.01)
    assert first["published f1"] == pytest.approx(0.8)
    assert (second["f1 std"], second["published f1"]) == (None, None)
    assert rows(tables["pairs"]) == [{"corpus": "MNRE", "task": "re", **cells_of_pair}]


def test_the_verdicts_of_a_comparison_are_in_the_words_of_its_page(tmp_path):
    comparison = {"corpus": "MNRE", "task": "re", "verdict": {"sentences": ["A leads.", "So."]}}
    content = {"comparisons": [comparison], "provenance": None}
    (tmp_path / "comparison.json").write_text(json.dumps(content))
    assert comparison_verdicts(tmp_path) == {"MNRE-re": "A leads. So."}
    content["provenance"] = {"planned": 3, "missing": [{"folder": "a"}]}
    (tmp_path / "comparison.json").write_text(json.dumps(content))
    assert comparison_verdicts(tmp_path) == {
        "MNRE-re": "Incomplete: 2 of 3 planned runs are tested. A leads. So."
    }
