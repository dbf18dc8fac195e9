"""Weights & Biases, when a configuration asks for it."""

from dataclasses import dataclass
from pathlib import Path

import wandb
from lightning.pytorch.loggers import WandbLogger


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
    offline = not wandb.api.api_key if settings.offline is None else settings.offline
    run_dir.mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        name=settings.name or run_dir.name,
        project=settings.project,
        entity=settings.entity,
        group=settings.group,
        tags=settings.tags,
        save_dir=run_dir,
        offline=offline,
    )
