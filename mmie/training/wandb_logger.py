"""Weights & Biases run of a run folder.

It is online only for users who are logged in, and its failures never stop a fit.
"""

import netrc
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger

from mmie.runs.folder import WANDB_ID
from mmie.training.wandb_settings import WandbSettings

_STEP = "trainer/global_step"


class RunFolderWandbLogger(WandbLogger):
    """Lightning's logger with one W&B run per run folder and W&B's failures as warnings.

    Args:
        init: Arguments of ``wandb.init``, from `wandb_init`.
        keep_history: Log values step by step, as a fit does. A test or validation has no steps, and
            its scores go to the summary, by `mmie.training.dashboard`.
    """

    def __init__(self, init: Mapping[str, Any], keep_history: bool = True) -> None:
        super().__init__(save_dir=init["dir"], **init)
        self._wandb_init.pop("anonymous", None)  # W&B warns of it, whatever its value
        self._keep_history = keep_history

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """W&B run on the first process, started when first needed. Other processes get a dummy."""
        if self._experiment is None:
            self._experiment = start_run(self._wandb_init)
            if self._keep_history:
                self._experiment.define_metric(_STEP)
                self._experiment.define_metric("*", step_metric=_STEP, step_sync=True)
        return self._experiment

    def log_hyperparams(self, params: Any) -> None:
        """Log the configuration."""
        with wandb_warns():
            super().log_hyperparams(params)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values of a step of a fit."""
        if self._keep_history:
            with wandb_warns():
                super().log_metrics(metrics, step)

    def finalize(self, status: str) -> None:
        """End the W&B run. A later stage of the same trainer continues it."""
        if self._experiment is not None:
            with wandb_warns():
                self._wandb_init["id"] = self._experiment.id
                self._experiment.finish(exit_code=0 if status == "success" else 1)
            self._experiment = None


def build_wandb_logger(
    settings: WandbSettings,
    run_dir: Path,
    group: str | None = None,
    method: str | None = None,
    fitting: bool = True,
    continued: bool = False,
) -> RunFolderWandbLogger:
    """Build a logger that writes under the run folder and never asks for a login.

    Args:
        settings: The user's settings.
        run_dir: Run folder.
        group: Group of the run if ``settings`` name none.
        method: The method's name, which becomes the run's job type and a tag.
        fitting: Whether the run is fitted, not tested or validated.
        continued: Whether to continue the W&B run that the folder names, if it names one.
    """
    init = wandb_init(settings, run_dir, group, method)
    init["id"] = read_run_id(run_dir) if continued else None
    return RunFolderWandbLogger(init, fitting)


def wandb_init(
    settings: WandbSettings, folder: Path, group: str | None = None, job_type: str | None = None
) -> dict[str, Any]:
    """Return arguments of ``wandb.init`` for a run that is kept under ``folder``.

    The folder is made if need be: W&B would replace a missing one by a temporary folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    method_tags = [job_type] if job_type else []
    return {
        "project": settings.project,
        "entity": settings.entity,
        "name": settings.name or folder.resolve().name,
        "group": settings.group or group,
        "job_type": job_type,
        "tags": [*method_tags, *(settings.tags or [])],
        "dir": str(folder),
        "resume": "allow",
        "mode": _mode(settings.offline),
    }


def start_run(init: Mapping[str, Any]) -> wandb.Run:
    """Start a W&B run.

    If it cannot be started as asked for, it stays on disk; if that fails too, it keeps nothing.
    Either gives a warning.
    """
    try:
        return wandb.init(**init)
    except Exception as error:  # whatever W&B raises must not end a fit
        reason = _one_line(error)
    try:
        run = wandb.init(**{**init, "mode": "offline"})
        outcome = f"the run stays in {init['dir']} for `wandb sync`"
    except Exception:  # the first reason is the one to report
        run = wandb.init(mode="disabled")
        outcome = "nothing is logged there"
    warnings.warn(f"W&B does not start, {outcome}: {reason}", stacklevel=2)
    return run


@contextmanager
def wandb_warns() -> Iterator[None]:
    """Turn whatever W&B raises into a warning of one line: a log must not end a fit."""
    try:
        yield
    except Exception as error:
        warnings.warn(f"W&B lacks a part of this run: {_one_line(error)}", stacklevel=3)


def read_run_id(folder: Path) -> str | None:
    """Return the id of the W&B run that a run folder belongs to, or None."""
    file = folder / WANDB_ID
    if not file.exists():
        return None
    return file.read_text(encoding="utf-8").strip() or None


def _mode(offline: bool | None) -> str | None:
    """Return the mode of ``wandb.init``, or None to leave it to W&B's own settings."""
    if offline is None:
        if os.environ.get("WANDB_MODE") == "disabled":
            return "disabled"
        offline = not _has_login()
    return "offline" if offline else None


def _has_login() -> bool:
    """Tell whether there is a key for W&B's host, in the environment or left by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    try:
        return netrc.netrc().authenticators(urlsplit(url).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _one_line(error: Exception) -> str:
    """Name an error's type and its whole message, without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
