"""The log of a fit by epoch, as CSV, which every fit writes."""

import csv
import io
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from mmie.utils.files import atomic_write

_Row = dict[str, Any]


def named_loggers(named: Logger | Iterable[Logger] | bool | None) -> list[Logger]:
    """The loggers that a configuration names in ``trainer.logger``, as a list."""
    if isinstance(named, Logger):
        return [named]
    return [] if named is None or isinstance(named, bool) else list(named)


class RunCSVLogger(Logger):
    """``metrics.csv`` of a run folder, replaced as a whole by every save, so that no interruption damages it.

    Args:
        folder: The run folder.
        steps: Steps of an earlier fit there whose rows are kept, those of the checkpoint that is continued.
        epochs: What the checkpoint knows of its epochs. The last one's training scores are logged after the checkpoint
            is written; where an interruption came between, they are taken from here.
    """

    def __init__(
        self, folder: Path, steps: int = 0, epochs: Iterable[Mapping[str, float]] = ()
    ) -> None:
        super().__init__()
        self._file = folder / "metrics.csv"
        self._rows = (
            [row for row in _read_rows(self._file) if int(row["step"]) < steps] if steps else []
        )
        self._rows += _missing_row(self._rows, steps, list(epochs))

    @property
    def name(self) -> str:
        """No name: the file lies in the run folder itself."""
        return ""

    @property
    def version(self) -> str:
        """No version."""
        return ""

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing: ``config.yaml`` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row."""
        self._rows.append(
            {**{name: float(value) for name, value in metrics.items()}, "step": step or 0}
        )
        if "epoch" in metrics:
            self._rows[-1]["epoch"] = int(metrics["epoch"])

    @rank_zero_only
    def save(self) -> None:
        """Write all rows."""
        if not self._rows:
            return
        names = [
            "epoch",
            "step",
            *sorted({name for row in self._rows for name in row} - {"epoch", "step"}),
        ]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(self._rows)
        atomic_write(self._file, lambda file: file.write_bytes(text.getvalue().encode()))


def _missing_row(rows: list[_Row], steps: int, epochs: list[Mapping[str, float]]) -> list[_Row]:
    """The row of the last epoch's training scores, if the rows lack it."""
    if not epochs or any(
        "train/loss" in row and int(row["epoch"]) == epochs[-1]["epoch"] for row in rows
    ):
        return []
    scores = {name: value for name, value in epochs[-1].items() if _is_of_training(name)}
    return [{"epoch": epochs[-1]["epoch"], "step": steps - 1, **scores}]


def _is_of_training(name: str) -> bool:
    """Whether a score is a mean over an epoch's training steps."""
    return name.startswith("train/") and not name.endswith("_step")


def _read_rows(file: Path) -> list[_Row]:
    """Rows of a CSV file without their empty cells; none if there is no file."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return [
            {name: cell for name, cell in row.items() if cell} for row in csv.DictReader(stream)
        ]
