"""Runs side by side: what each was, and how well it did."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.table import Column, Table

from mmie.data.demo import DemoBounds
from mmie.types import MmieError, Task


class RunError(MmieError, ValueError):
    """A folder that holds no run, or one that was not tested yet."""


@dataclass(frozen=True, slots=True)
class Run:
    """One tested run.

    Attributes:
        folder: Its run folder.
        method: Class name of the method.
        corpus: Class name of the corpus.
        root: Folder of the corpus.
        task: ``ner`` or ``re``.
        scores: Test scores by name, 0 to 1.
    """

    folder: Path
    method: str
    corpus: str
    root: Path
    task: Task
    scores: dict[str, float]


def read_run(folder: str | Path) -> Run:
    """A run from its folder.

    Raises:
        RunError: ``config.yaml`` or the test section of ``metrics.json`` is not there.
    """
    folder = Path(folder)
    try:
        config: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        test = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["test"]
    except (OSError, KeyError) as error:
        raise RunError(f"{folder} holds no tested run: fit and test it first") from error
    corpus = config["data"]["corpus"]
    return Run(
        folder=folder,
        method=config["model"]["class_path"].rpartition(".")[2],
        corpus=corpus["class_path"].rpartition(".")[2],
        root=Path(corpus["init_args"]["root"]),
        task=config["data"]["task"],
        scores={name.removeprefix("test/"): value for name, value in test.items() if name.startswith("test/")},
    )


def render_runs(runs: Sequence[Run]) -> Table:
    """A row a run; for the demo corpus also the best score that text alone can reach."""
    columns = (Column(name, overflow="fold") for name in ("run", "method", "corpus", "task", "P", "R", "F1"))
    table = Table(*columns, title="Test scores")
    for run in runs:
        percents = [f"{100 * run.scores[name]:.2f}" for name in ("precision", "recall", "f1")]
        table.add_row(str(run.folder), run.method, run.corpus, run.task, *percents)
    for root, task in sorted({(run.root, run.task) for run in runs if run.corpus == "DemoCorpus"}):
        bound = DemoBounds.read(root / "bounds.json").score(task)
        table.add_row(
            "", "best possible from text alone", "DemoCorpus", task, "", "", f"{100 * bound:.2f}", style="bold"
        )
    return table
