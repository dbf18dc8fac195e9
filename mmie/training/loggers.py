"""The log of a fit by epoch, as CSV, which every fit writes."""

import csv
import io
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from mmie.runs.folder import HISTORY
from mmie.runs.metrics import with_prefix
from mmie.utils.files import atomic_write

_Row = dict[str, Any]


def named_loggers(setting: Logger | Iterable[Logger] | bool | None) -> list[Logger]:
    """Return the loggers that a configuration names in ``trainer.logger``."""
    if isinstance(setting, Logger):
        return [setting]
    if setting is None or isinstance(setting, bool):
        return []
    return list(setting)


class RunCSVLogger(Logger):
    """``metrics.csv`` of a run folder, replaced as a whole by every save.

    Args:
        folder: The run folder.
        steps: Steps of an earlier fit in the folder whose rows stay: those of the checkpoint that
            is continued.
        epochs: Epochs that the checkpoint records. The last one's training scores are logged after
            the checkpoint is written; if the fit was interrupted in between, they are taken from
            here.
    """

    def __init__(
        self, folder: Path, steps: int = 0, epochs: Iterable[Mapping[str, float]] = ()
    ) -> None:
        super().__init__()
        self._file = folder / HISTORY
        self._rows: list[_Row] = []
        if steps:
            self._rows = [row for row in _read_rows(self._file) if int(row["step"]) < steps]
        self._rows += _missing_row(self._rows, steps, list(epochs))

    @property
    def name(self) -> str:
        """Empty name: the file lies in the run folder itself."""
        return ""

    @property
    def version(self) -> str:
        """Empty version."""
        return ""

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: ``config.yaml`` holds the hyperparameters."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row."""
        row: _Row = {name: float(value) for name, value in metrics.items()}
        row["step"] = step or 0
        if "epoch" in metrics:
            row["epoch"] = int(metrics["epoch"])
        self._rows.append(row)

    @rank_zero_only
    def save(self) -> None:
        """Write all rows."""
        if not self._rows:
            return
        scores = {name for row in self._rows for name in row} - {"epoch", "step"}
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["epoch", "step", *sorted(scores)])
        writer.writeheader()
        writer.writerows(self._rows)
        content = text.getvalue().encode()
        atomic_write(self._file, lambda file: file.write_bytes(content))


def _missing_row(rows: list[_Row], steps: int, epochs: list[Mapping[str, float]]) -> list[_Row]:
    """Return the row of the last epoch's training scores, if the rows lack it."""
    if not epochs:
        return []
    last = epochs[-1]
    if any("train/loss" in row and int(row["epoch"]) == last["epoch"] for row in rows):
        return []
    row = {"epoch": last["epoch"], "step": steps - 1}
    for name, value in with_prefix(last, "train/").items():
        if not name.endswith("_step"):
            row[name] = value
    return [row]


def _read_rows(file: Path) -> list[_Row]:
    """Read the rows of a CSV file, if it exists, without their empty cells."""
    if not file.exists():
        return []
    rows = []
    with file.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            rows.append({name: cell for name, cell in row.items() if cell})
    return rows
