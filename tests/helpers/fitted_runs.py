"""A small fit for each task that many tests share, its options, and runs of sweeps."""

import csv
import shutil
from pathlib import Path

import pytest

from helpers.command import succeed, tiny_options
from helpers.fits import run_forked_job
from mmie.experiments.processes import RunProcesses

TASKS = ("ner", "re")
EPOCHS = 4
"""Number of epochs of the fits."""


def fit_options(corpus: Path, run_dir: Path, task: str = "ner") -> list[str]:
    """Return the options of the fits, whose learning rates are high enough to find something."""
    rates = ["--model.text_lr=0.003", "--model.head_lr=0.02"]
    return [*tiny_options("text_only", corpus, run_dir), f"--data.task={task}", *rates]


def read_history(run_dir: Path) -> list[dict[str, str]]:
    """Read the rows of ``metrics.csv``."""
    with (run_dir / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="session")
def fitted_runs(demo_root, tmp_path_factory) -> Path:
    """Folder with a fitted run folder for each task, which tests must not change."""
    folder = tmp_path_factory.mktemp("runs")
    for task in TASKS:
        options = fit_options(demo_root, folder / task, task)
        outcome = succeed("fit", *options, f"--trainer.max_epochs={EPOCHS}")
        assert outcome.err == ""
    return folder


@pytest.fixture
def fitted_run(fitted_runs, tmp_path) -> Path:
    """Copy of the run folder of entities, which a test may change."""
    return shutil.copytree(fitted_runs / "ner", tmp_path / "run")


@pytest.fixture
def _forked_runs(monkeypatch):
    """Runs of sweeps and studies are forked, which spares importing the package in each."""
    monkeypatch.setattr(RunProcesses, "run", run_forked_job)
