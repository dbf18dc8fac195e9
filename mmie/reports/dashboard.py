"""Predictions and comparisons as charts, tables and artifacts of Weights & Biases."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb

from mmie.reports.comparison.disagreements import entity_texts
from mmie.reports.pictures import small_picture
from mmie.reports.statistics import SCORE_NAMES, confusion_matrix, types_by_frequency
from mmie.runs import PredictionRecord, read_prediction_file
from mmie.types import Entity

MAX_ROWS = 200
"""Largest number of rows in a table of predictions."""
NOTHING = "nothing"
"""Label in the confusion matrix of what was not predicted, and of what is not gold."""
_PREDICTION_COLUMNS: list[str | int] = ["picture", "id", "text", "gold", "predicted", "right"]
_CHART_COLUMNS: list[str | int] = ["Actual", "Predicted", "nPredictions"]
_SCORE_COLUMNS: list[str | int] = [
    "corpus",
    "task",
    "system",
    "seeds",
    *SCORE_NAMES,
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
_COMPARISON_FILES = ("comparison.html", "comparison.md", "comparison.json")


def prediction_media(predictions: Path, rows: int = MAX_ROWS) -> dict[str, Any]:
    """Build the confusion matrix of all predictions, and a table of some, wrong ones first.

    Args:
        predictions: A run's file of predictions.
        rows: Largest number of rows of the table.

    Raises:
        RunError: A line is not what `mmie test` writes.
    """
    records = read_prediction_file(predictions)
    return {"confusion": confusion_chart(records), "predictions": prediction_table(records, rows)}


def confusion_chart(predictions: Sequence[PredictionRecord]) -> Any:
    """Build W&B's confusion matrix of gold types, predicted types and `NOTHING`."""
    types = types_by_frequency([predictions])
    names = [*types, NOTHING]
    rows = []
    for actual, counts in zip(names, confusion_matrix([predictions], types), strict=True):
        for predicted, count in zip(names, counts, strict=True):
            rows.append([actual, predicted, count])
    table = wandb.Table(columns=_CHART_COLUMNS, data=rows)
    fields = {str(name): name for name in _CHART_COLUMNS}
    return wandb.plot_table(
        "wandb/confusion_matrix/v1", table, fields, {"title": "gold and predicted"}
    )


def prediction_table(predictions: Sequence[PredictionRecord], rows: int = MAX_ROWS) -> wandb.Table:
    """Build a table of predictions with their pictures.

    Args:
        predictions: Predictions in the order of the split.
        rows: Largest number of rows. Wrong predictions come first, then right ones, both in the
            order of the split.
    """
    wrong_first = sorted(predictions, key=_is_right)
    data = [_prediction_row(prediction) for prediction in wrong_first[:rows]]
    return wandb.Table(columns=_PREDICTION_COLUMNS, data=data)


def comparison_tables(folder: Path) -> dict[str, wandb.Table]:
    """Build the tables of a comparison, with scores from 0 to 1.

    Args:
        folder: Folder that holds the ``comparison.json`` of `mmie compare`.

    Returns:
        ``scores`` with a row for each system, and ``pairs`` with a row for each two systems.
    """
    content = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    scores, pairs = [], []
    for comparison in content["comparisons"]:
        group = [comparison["corpus"], comparison["task"]]
        for row in comparison["rows"]:
            scores.append([*group, *_score_cells(row)])
        for pair in comparison["differences"]:
            pairs.append([*group, *(pair[name] for name in _PAIR_VALUES)])
    return {
        "scores": wandb.Table(columns=_SCORE_COLUMNS, data=scores),
        "pairs": wandb.Table(columns=_PAIR_COLUMNS, data=pairs),
    }


def comparison_verdicts(folder: Path) -> dict[str, str]:
    """Read the verdicts of a comparison, in the words of its page.

    Args:
        folder: Folder that holds the ``comparison.json`` of `mmie compare`.

    Returns:
        Sentences in a line, by corpus and task, after a warning if planned runs are missing.
    """
    content = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    provenance = content.get("provenance") or {}
    warning = ""
    if provenance.get("missing"):
        num_tested = provenance["planned"] - len(provenance["missing"])
        warning = f"Incomplete: {num_tested} of {provenance['planned']} planned runs are tested. "
    verdicts = {}
    for comparison in content["comparisons"]:
        name = f"{comparison['corpus']}-{comparison['task']}"
        verdicts[name] = warning + " ".join(comparison["verdict"]["sentences"])
    return verdicts


def log_comparison(run: wandb.Run, folder: Path) -> None:
    """Log the files and tables of a comparison as an artifact, and show the tables in the run.

    The verdicts are the description of the artifact, and stand in the summary of the run as
    ``verdict/CORPUS-TASK``, beside the page.

    Args:
        run: An open W&B run.
        folder: Folder that `mmie compare` wrote.
    """
    verdicts = comparison_verdicts(folder)
    description = "\n\n".join(f"{name}: {text}" for name, text in verdicts.items())
    artifact = wandb.Artifact("comparison", type="comparison", description=description)
    for name in _COMPARISON_FILES:
        artifact.add_file(str(folder / name))
    for name, table in comparison_tables(folder).items():
        artifact.add(table, name)
    run.log_artifact(artifact)
    # The tables are built again because W&B binds a table to the first object that holds it.
    run.log(comparison_tables(folder))
    run.log({"report": wandb.Html(str(folder / "comparison.html"), inject=False)})
    run.summary.update({f"verdict/{name}": text for name, text in verdicts.items()})


def _is_right(prediction: PredictionRecord) -> bool:
    """Tell whether all predicted entities of an instance are gold, and all gold ones predicted."""
    return set(prediction.gold) == set(prediction.predicted)


def _prediction_row(prediction: PredictionRecord) -> list[Any]:
    """Return the cells of one prediction."""
    picture = small_picture(prediction.image)
    return [
        None if picture is None else wandb.Image(picture, file_type="jpg"),
        prediction.id,
        " ".join(prediction.words),
        _join_texts(prediction, prediction.gold),
        _join_texts(prediction, prediction.predicted),
        _is_right(prediction),
    ]


def _join_texts(prediction: PredictionRecord, entities: Sequence[Entity]) -> str:
    """Spell out entities, or a relation, in one line."""
    texts = entity_texts(prediction, entities)
    return "; ".join(f"{entity.text} [{entity.type}]" for entity in texts)


def _score_cells(row: dict[str, Any]) -> list[Any]:
    """Return the cells of one system, without corpus and task."""
    scores, published = row["scores"], row["published"]
    return [
        row["name"],
        len(row["seeds"]),
        *(scores[name]["mean"] for name in SCORE_NAMES),
        scores["f1"]["std"],
        None if published is None else published["scores"]["f1"] / 100,
    ]
