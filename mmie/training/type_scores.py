"""Scores of a test by type, computed from its predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from mmie.metrics import PrecisionRecallF1, per_type, span_counts
from mmie.runs.predictions import read_prediction_file
from mmie.utils.wording import format_score


def read_type_scores(file: Path, types: Sequence[str]) -> dict[str, PrecisionRecallF1]:
    """Compute the scores of each entity type or relation label in a file of predictions.

    Args:
        file: Predictions of a test.
        types: Entity types or relation labels. ``None``, which no record holds, is left out.

    Returns:
        Scores by type, the most frequent type first. Types that are neither in the gold labels nor
        predicted are left out.

    Raises:
        RunError: A line of the file is not what a test writes.
    """
    records = read_prediction_file(file)
    predicted = [record.predicted for record in records]
    gold = [record.gold for record in records]
    counts = span_counts(predicted, gold, types)  # (types + 1, 3)
    occurring = {}
    for name, scores in per_type(counts, types).items():
        if counts[types.index(name)].any():
            occurring[name] = scores
    return dict(sorted(occurring.items(), key=lambda item: (-item[1].support, item[0])))


def type_table(scores: Mapping[str, PrecisionRecallF1]) -> Table:
    """Build a table with a row for each type: scores in percent, and the number of gold items."""
    table = Table(title="by type")
    table.add_column("type", overflow="fold")
    for name in ("P", "R", "F1", "gold"):
        table.add_column(name, justify="right")
    for name, of_type in scores.items():
        values = map(format_score, (of_type.precision, of_type.recall, of_type.f1))
        table.add_row(name, *values, str(of_type.support))
    return table
