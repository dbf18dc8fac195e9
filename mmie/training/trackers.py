"""TensorBoard and MLflow logs of a run folder, beside its CSV log.

Scores of a test or of a validation that is no part of a fit are named by their section of
``metrics.json``: ``test/f1``, ``test_shuffled/f1``, ``validate/f1``. They enter the log of the fit.
"""

import logging
import os
import warnings
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from mmie.runs.folder import MLFLOW_ID
from mmie.utils.files import atomic_write_text
from mmie.utils.optional import require
from mmie.utils.text import first_line

DEFAULT_STORE = "sqlite:///mlflow.db"
"""Local store that ``mlflow ui`` shows when it is started in the same folder."""
_FOLDER = "tensorboard"


@dataclass
class TensorBoardSettings:
    """Settings of a TensorBoard log beside the CSV log.

    Attributes:
        folder: Folder of the event files; by default ``tensorboard`` in the run folder.
    """

    folder: str | None = None


@dataclass
class MLflowSettings:
    """Settings of an MLflow run beside the CSV log.

    Attributes:
        tracking_uri: Server or store; by default ``$MLFLOW_TRACKING_URI``, or ``mlflow.db`` in the
            working directory.
        experiment: Experiment that the run belongs to.
        name: Name of the run; by default the run folder's.
        tags: Tags of the run beside its method.
    """

    tracking_uri: str | None = None
    experiment: str = "mmie"
    name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


class RunTensorBoardLogger(TensorBoardLogger):
    """Lightning's logger with all event files of a run folder in one folder.

    Args:
        folder: Folder of the event files.
        sections: New prefixes of scores by their old ones: see `section_prefixes`.
    """

    def __init__(self, folder: Path, sections: Mapping[str, str]) -> None:
        require("tensorboard", "tensorboard")
        super().__init__(str(folder), name="", version="")
        self._sections = sections

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values of a step."""
        super().log_metrics(rename_scores(metrics, self._sections), step)


class RunMLflowLogger(MLFlowLogger):
    """Lightning's logger with one MLflow run per run folder and MLflow's failures as warnings.

    Args:
        settings: The user's settings.
        folder: Run folder.
        method: Name of the method, which becomes a tag.
        run_id: Run that is continued; None starts another one.
        sections: New prefixes of scores by their old ones: see `section_prefixes`.
    """

    def __init__(
        self,
        settings: MLflowSettings,
        folder: Path,
        method: str,
        run_id: str | None,
        sections: Mapping[str, str],
    ) -> None:
        for module in ("mlflow", "sqlalchemy", "alembic"):
            require(module, "mlflow")
            logging.getLogger(module).setLevel(logging.WARNING)  # a new store logs 60 lines
        super().__init__(
            settings.experiment,
            run_name=settings.name or folder.resolve().name,
            tracking_uri=settings.tracking_uri
            or os.environ.get("MLFLOW_TRACKING_URI")
            or DEFAULT_STORE,
            tags={"method": method, **settings.tags},
            run_id=run_id,
        )
        self._folder = folder
        self._sections = sections
        self._has_failed = False

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Log the configuration. MLflow refuses other settings for a run that is continued."""
        with self._warn_once("it has other settings than this run"):
            super().log_hyperparams(params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values of a step, and record the run's id in the run folder at the first ones."""
        if self._has_failed:
            return
        self._has_failed = True
        with self._warn_once("nothing more is logged there"):
            file = self._folder / MLFLOW_ID
            if not file.exists():
                atomic_write_text(file, f"{self.run_id}\n")
            super().log_metrics(rename_scores(metrics, self._sections), step)
            self._has_failed = False

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """End the MLflow run. A later stage continues it."""
        if not self._has_failed:
            with self._warn_once("the run stays open there"):
                super().finalize(status)

    @contextmanager
    def _warn_once(self, consequence: str) -> Iterator[None]:
        """Turn whatever MLflow raises into a warning of one line: a log must not end a fit."""
        try:
            yield
        except Exception as error:
            warnings.warn(f"MLflow, {consequence}: {first_line(error)}", stacklevel=4)


def read_mlflow_id(folder: Path) -> str | None:
    """Return the id of the MLflow run that a run folder belongs to, or None."""
    file = folder / MLFLOW_ID
    if not file.exists():
        return None
    return file.read_text(encoding="utf-8").strip() or None


def build_tensorboard_logger(
    settings: TensorBoardSettings, run_dir: Path, sections: Mapping[str, str]
) -> RunTensorBoardLogger:
    """Build a logger that writes event files.

    Args:
        settings: The user's settings.
        run_dir: Run folder.
        sections: New prefixes of scores by their old ones: see `section_prefixes`.

    Raises:
        MissingPackageError: TensorBoard is not installed.
    """
    folder = run_dir / _FOLDER if settings.folder is None else Path(settings.folder)
    return RunTensorBoardLogger(folder, sections)


def section_prefixes(fitting: bool, suffix: str) -> dict[str, str]:
    """Map the prefixes of scores to those of the sections of ``metrics.json``.

    Args:
        fitting: Whether the run is fitted, whose scores keep their names.
        suffix: Ending of the section of a test: see `mmie.runs.picture_tests.picture_suffix`.

    >>> section_prefixes(False, "_shuffled")
    {'val/': 'validate/', 'test/': 'test_shuffled/'}
    """
    return {} if fitting else {"val/": "validate/", "test/": f"test{suffix}/"}


def rename_scores(metrics: Mapping[str, float], prefixes: Mapping[str, str]) -> dict[str, float]:
    """Replace the prefixes of scores.

    >>> rename_scores({"val/f1": 0.5, "epoch": 1}, {"val/": "validate/"})
    {'validate/f1': 0.5, 'epoch': 1}
    """
    renamed: dict[str, float] = {}
    for name, value in metrics.items():
        for old, new in prefixes.items():
            if name.startswith(old):
                name = new + name.removeprefix(old)
                break
        renamed[name] = value
    return renamed
