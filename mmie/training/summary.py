"""The tables that a fit, a validation or a test ends with."""

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from mmie.metrics import PrecisionRecallF1
from mmie.runs.folder import BEST, CONFIG, LAST, METRICS, prediction_files
from mmie.training.type_scores import type_table
from mmie.utils.terminal import PlainConsole
from mmie.utils.wording import format_measure, format_score

_SCORES = ("precision", "recall", "f1", "accuracy", "calibration_error")
_FILE_WIDTH = 160
"""Characters in a line of a table that goes to a file."""


def print_summary(
    folder: Path,
    title: str,
    scores: Mapping[str, float],
    prefix: str,
    note: str = "",
    by_type: Mapping[str, PrecisionRecallF1] | None = None,
) -> None:
    """Print the outcome of a run, and the path of everything written.

    Args:
        folder: Run folder.
        title: What the scores are of.
        scores: Scores by logged name, 0 to 1.
        prefix: Beginning of the names of the scores to print.
        note: Lines below the tables: the best epoch, the note of the corpus.
        by_type: Scores of each entity type or relation label, which get a table of their own.
    """
    table = Table(title=f"{title} of {folder}", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # a path must not be cut
    for name in _SCORES:
        if prefix + name in scores:
            label = name.replace("f1", "F1").replace("_", " ")
            table.add_row(label, format_score(scores[prefix + name]))
    if prefix + "loss" in scores:
        table.add_row("loss", format_measure("loss", scores[prefix + "loss"]))
    checkpoints = (folder / BEST, folder / LAST)
    for file in (*checkpoints, folder / METRICS, *prediction_files(folder), folder / CONFIG):
        if file.exists():
            table.add_row(file.stem, str(file))
    console = PlainConsole()
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(table)
    if by_type:
        console.print(type_table(by_type))
    if note:
        console.print(note)
