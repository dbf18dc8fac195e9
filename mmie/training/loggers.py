"""The log of a fit by epoch: CSV always, Weights & Biases when a configuration asks for it."""

import csv
import netrc
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger


@dataclass
class WandbSettings:
    """A W&B run beside the CSV log.

    Attributes:
        project: Project that the run belongs to.
        entity: User or team; by default the one that is logged in.
        name: Name of the run; by default the run folder's.
        group: Runs of one group are shown together.
        tags: Tags of the run.
        offline: Keep the run on disk for ``wandb sync``; by default only if nobody is logged in.
    """

    project: str = "mmie"
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    tags: list[str] | None = None
    offline: bool | None = None


def build_wandb_logger(settings: WandbSettings, run_dir: Path) -> WandbLogger:
    """A logger that writes under the run folder and never asks for a login."""
    offline = not _has_login() if settings.offline is None else settings.offline
    run_dir.mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        name=settings.name or run_dir.name,
        project=settings.project,
        entity=settings.entity,
        group=settings.group,
        tags=settings.tags,
        save_dir=run_dir,
        offline=offline,
        mode="offline" if offline else None,  # the environment variable that Lightning sets may come too late
    )


def _has_login() -> bool:
    """Whether there is a key for W&B's host: in the environment, or where ``wandb login`` keeps it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


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
