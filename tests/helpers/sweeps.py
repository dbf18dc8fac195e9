"""Jobs of sweeps without configurations, and records of fits that run."""

import json
from collections.abc import Sequence
from pathlib import Path

from mmie.experiments.sweep import SweepJob


def plan_jobs(folder: Path, count: int, name: str = "a") -> list[SweepJob]:
    """Return jobs of one configuration that differ in their seeds."""
    jobs = []
    for seed in range(count):
        jobs.append(SweepJob(folder / name / f"seed_{seed}", (Path(f"{name}.yaml"),), (), seed))
    return jobs


def write_course(
    folder: Path, f1: Sequence[float], max_epochs: int | None = 4, seconds: float = 10.0
) -> None:
    """Write the record of a fit that runs.

    Args:
        folder: The run folder.
        f1: Validation F1 of the epochs that have ended.
        max_epochs: Number of epochs of the whole fit.
        seconds: Time of each epoch.
    """
    epochs = []
    for number, value in enumerate(f1):
        epochs.append({"epoch": number, "seconds": seconds, "val/f1": value})
    metrics = {"settings": {"trainer.max_epochs": max_epochs}, "fit": {"epochs": epochs}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
