"""The log of a fit by epoch, as CSV, which every fit writes."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger


def build_csv_logger(run_dir: Path, steps: int = 0) -> CSVLogger:
    """A logger that writes ``metrics.csv`` into the run folder, behind the rows of the first ``steps`` steps there."""
    return ContinuedCSVLogger(run_dir, steps) if steps else CSVLogger(run_dir, name="", version="")


def named_loggers(named: Logger | Iterable[Logger] | bool | None) -> list[Logger]:
    """The loggers that a configuration names in ``trainer.logger``, as a list."""
    if isinstance(named, Logger):
        return [named]
    return [] if named is None or isinstance(named, bool) else list(named)


class ContinuedCSVLogger(CSVLogger):
    """Goes on in the ``metrics.csv`` of an earlier fit; Lightning's own would delete it.

    Args:
        folder: Folder of ``metrics.csv``.
        steps: Steps of the earlier fit to keep, those of the checkpoint that is continued.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__(folder, name="", version="")
        self._earlier = [row for row in _read_rows(folder / "metrics.csv") if int(row["step"]) < steps]

    @property
    def experiment(self) -> Any:  # noqa: ANN401  (Lightning's writer on the first process, a dummy on the others)
        """The writer, earlier rows first."""
        writer = super().experiment
        if self._earlier:
            writer.metrics[:0] = self._earlier
            self._earlier = []
        return writer


def _read_rows(file: Path) -> list[dict[str, str]]:
    """Rows of a CSV file without their empty cells; none if there is no file."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(stream)]
