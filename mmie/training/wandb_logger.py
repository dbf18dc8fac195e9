"""A Weights & Biases run for a run folder: online only for who is logged in, and never in the way of a fit."""

import netrc
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger

RUN_ID = "wandb_id.txt"
"""File of a run folder that holds the id of its W&B run, which a later test continues."""
_STEP = "trainer/global_step"


@dataclass
class WandbSettings:
    """A W&B run beside the CSV log.

    Attributes:
        project: Project that the run belongs to.
        entity: User or team; by default the one that is logged in.
        name: Name of the run; by default the run folder's.
        group: Runs of one group are shown together; by default those of one corpus and task.
        tags: Tags of the run beside its method.
        offline: Keep the run on disk for ``wandb sync``; by default only if nobody is logged in.
    """

    project: str = "mmie"
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    tags: list[str] | None = None
    offline: bool | None = None


class RunFolderWandbLogger(WandbLogger):
    """Lightning's logger, for one W&B run per run folder; what W&B cannot do becomes a warning.

    Args:
        init: Arguments of ``wandb.init``, from `wandb_init`.
        keep_history: Log values step by step, as a fit does. A test or validation has no steps, and its scores go to
            the summary, by `mmie.training.dashboard`.
    """

    def __init__(self, init: Mapping[str, Any], keep_history: bool = True) -> None:
        super().__init__(save_dir=init["dir"], **init)
        self._wandb_init.pop("anonymous", None)  # W&B warns of it, whatever it says
        self._keep_history = keep_history

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, started when it is first needed."""
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
        """End the W&B run; a later stage of the same trainer continues it."""
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
    """A logger that writes under the run folder and never asks for a login.

    Args:
        settings: What the user asked for.
        run_dir: Run folder.
        group: Group of the run, where ``settings`` name none.
        method: The method's name, which becomes the run's job type and a tag.
        fitting: Whether the run is fitted, not tested or validated.
        continued: Whether to go on with the W&B run that the folder holds, if it holds one.
    """
    init = wandb_init(settings, run_dir, group, method)
    return RunFolderWandbLogger(
        {**init, "id": read_run_id(run_dir) if continued else None}, fitting
    )


def wandb_init(
    settings: WandbSettings, folder: Path, group: str | None = None, job_type: str | None = None
) -> dict[str, Any]:
    """Arguments of ``wandb.init`` for a run that is kept under ``folder``, which is made if need be."""
    folder.mkdir(
        parents=True, exist_ok=True
    )  # W&B would take a temporary folder in the place of one that is missing
    return {
        "project": settings.project,
        "entity": settings.entity,
        "name": settings.name or folder.resolve().name,
        "group": settings.group or group,
        "job_type": job_type,
        "tags": [*([job_type] if job_type else []), *(settings.tags or [])],
        "dir": str(folder),
        "resume": "allow",
        "mode": _mode(settings.offline),
    }


def start_run(init: Mapping[str, Any]) -> wandb.Run:
    """Start a W&B run: as asked for, or else one that stays on disk, or else one that keeps nothing, with a warning."""
    try:
        return wandb.init(**init)
    except Exception as error:  # of whatever kind: it must not end a fit
        reason = _one_line(error)
    try:
        run, outcome = (
            wandb.init(**{**init, "mode": "offline"}),
            f"the run stays in {init['dir']} for `wandb sync`",
        )
    except Exception:  # the first reason tells more
        run, outcome = wandb.init(mode="disabled"), "nothing is logged there"
    warnings.warn(f"W&B does not start, {outcome}: {reason}", stacklevel=2)
    return run


@contextmanager
def wandb_warns() -> Iterator[None]:
    """Whatever W&B or its files raise becomes a warning of one line: a log must not end a fit."""
    try:
        yield
    except Exception as error:
        warnings.warn(f"W&B lacks a part of this run: {_one_line(error)}", stacklevel=3)


def read_run_id(folder: Path) -> str | None:
    """Id of the W&B run that a run folder belongs to; None if it belongs to none."""
    file = folder / RUN_ID
    return (file.read_text(encoding="utf-8").strip() or None) if file.exists() else None


def _mode(offline: bool | None) -> str | None:
    """The mode of ``wandb.init``; None leaves the choice to W&B's own settings, which are then online."""
    if offline is None:
        if os.environ.get("WANDB_MODE") == "disabled":
            return "disabled"
        offline = not _has_login()
    return "offline" if offline else None


def _has_login() -> bool:
    """Whether there is a key for W&B's host: in the environment, or where ``wandb login`` keeps it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
