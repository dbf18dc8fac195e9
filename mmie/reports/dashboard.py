"""Answers and comparisons as charts, tables and artifacts of Weights & Biases."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb

from mmie.reports.comparison.disagreements import mentions
from mmie.reports.comparison.page import small_picture
from mmie.reports.statistics import confusion, types_of
from mmie.runs import PredictionRecord, read_prediction_file
from mmie.types import Entity

ROWS = 200
"""Most rows of a table of answers."""
NOTHING = "nothing"
"""In the confusion matrix: what was not found, or is not there."""
_ANSWER_COLUMNS: list[str | int] = ["picture", "id", "text", "gold", "predicted", "right"]
_CHART_COLUMNS: list[str | int] = ["Actual", "Predicted", "nPredictions"]
_SCORES = ("precision", "recall", "f1")
_SCORE_COLUMNS: list[str | int] = [
    "corpus",
    "task",
    "system",
    "seeds",
    *_SCORES,
    "f1 std",
    "published f1",
]
_PAIR_VALUES = (
    "first",
    "second",
    "difference",
    "low",
    "high",
    "p_bootstrap",
    "p_randomization",
    "p_holm",
)
_PAIR_COLUMNS: list[str | int] = ["corpus", "task", *_PAIR_VALUES]
_FILES = ("comparison.html", "comparison.md", "comparison.json")


def prediction_media(predictions: Path, rows: int = ROWS) -> dict[str, Any]:
    """The confusion matrix of all answers, and a table of some, wrong ones first.

    Args:
        predictions: A run's file of predictions.
        rows: Most rows of the table.

    Raises:
        RunError: A line is not what `mmie test` writes.
    """
    records = read_prediction_file(predictions)
    return {"confusion": confusion_chart(records), "predictions": prediction_table(records, rows)}


def confusion_chart(predictions: Sequence[PredictionRecord]) -> Any:
    """W&B's confusion matrix: gold types against predicted ones, and either against nothing."""
    types = types_of([predictions])
    names = [*types, NOTHING]
    cells = [
        [actual, predicted, count]
        for actual, row in zip(names, confusion([predictions], types), strict=True)
        for predicted, count in zip(names, row, strict=True)
    ]
    table = wandb.Table(columns=_CHART_COLUMNS, data=cells)
    fields = {str(name): name for name in _CHART_COLUMNS}
    return wandb.plot_table(
        "wandb/confusion_matrix/v1", table, fields, {"title": "gold and predicted"}
    )


def prediction_table(predictions: Sequence[PredictionRecord], rows: int = ROWS) -> wandb.Table:
    """At most ``rows`` answers beside their pictures: wrong ones first, else in the order of the split."""
    chosen = sorted(
        predictions, key=lambda prediction: set(prediction.gold) == set(prediction.predicted)
    )[:rows]
    return wandb.Table(
        columns=_ANSWER_COLUMNS, data=[_prediction_row(prediction) for prediction in chosen]
    )


def comparison_tables(folder: Path) -> dict[str, wandb.Table]:
    """``scores``, a row a system, and ``pairs``, a row for each two of them; all scores from 0 to 1.

    Args:
        folder: Where `mmie compare` wrote ``comparison.json``.
    """
    comparisons = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))[
        "comparisons"
    ]
    scores = [_score_row(one, row) for one in comparisons for row in one["rows"]]
    pairs = [
        [one["corpus"], one["task"], *(pair[name] for name in _PAIR_VALUES)]
        for one in comparisons
        for pair in one["differences"]
    ]
    return {
        "scores": wandb.Table(columns=_SCORE_COLUMNS, data=scores),
        "pairs": wandb.Table(columns=_PAIR_COLUMNS, data=pairs),
    }


def log_comparison(run: wandb.Run, folder: Path) -> None:
    """Log the files of a comparison with its tables as an artifact, and show the tables in the run.

    Args:
        run: An open W&B run.
        folder: Where `mmie compare` wrote its files.
    """
    artifact = wandb.Artifact("comparison", type="comparison")
    for name in _FILES:
        artifact.add_file(str(folder / name))
    for name, table in comparison_tables(folder).items():
        artifact.add(table, name)
    run.log_artifact(artifact)
    run.log(comparison_tables(folder))  # others: a table belongs to the first that takes it


def _prediction_row(prediction: PredictionRecord) -> list[Any]:
    """One answer: its picture, its text, and what is right and what was found."""
    picture = small_picture(prediction.image)
    return [
        None if picture is None else wandb.Image(picture, file_type="jpg"),
        prediction.id,
        " ".join(prediction.words),
        _shown(prediction, prediction.gold),
        _shown(prediction, prediction.predicted),
        set(prediction.gold) == set(prediction.predicted),
    ]


def _shown(prediction: PredictionRecord, entities: Sequence[Entity]) -> str:
    """Entities or a relation as one reads them."""
    return "; ".join(
        f"{mention.text} [{mention.type}]" for mention in mentions(prediction, entities)
    )


def _score_row(comparison: dict[str, Any], row: dict[str, Any]) -> list[Any]:
    """One system's scores."""
    scores, published = row["scores"], row["published"]
    return [
        comparison["corpus"],
        comparison["task"],
        row["name"],
        len(row["seeds"]),
        *(scores[name]["mean"] for name in _SCORES),
        scores["f1"]["std"],
        None if published is None else published["scores"]["f1"] / 100,
    ]
