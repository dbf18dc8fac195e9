"""The `mmie` command for tests, run in this process or in one of its own, and its files."""

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from helpers.paths import CONFIGS, REPOSITORY, TESTS
from mmie import cli

TIMES = ("seconds", "train_seconds")
"""Values of an epoch in which two runs of the same fit differ."""


@dataclass(frozen=True)
class Outcome:
    """Result of a command.

    Attributes:
        status: Exit status.
        out: Standard output.
        err: Standard error.
    """

    status: int
    out: str
    err: str

    @property
    def config(self) -> dict:
        """Configuration that ``--print_config`` printed."""
        return yaml.safe_load(self.out)


def run(*arguments: object) -> Outcome:
    """Run ``mmie ARGUMENTS`` in this process."""
    out = io.StringIO()
    err = io.StringIO()
    status = 0
    line = ["mmie", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", line),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as system_exit:
            status = int(system_exit.code or 0)
    return Outcome(status, out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> Outcome:
    """Run ``mmie ARGUMENTS`` in this process and check that it does not fail."""
    outcome = run(*arguments)
    assert outcome.status == 0, outcome.err
    return outcome


def check_refused(outcome: Outcome, *parts: str) -> None:
    """Check that a command failed with one line that holds all of the parts."""
    assert outcome.status in (1, 2)
    assert outcome.out == ""
    assert re.fullmatch(r"mmie: .+\n", outcome.err), outcome.err
    assert len(outcome.err) < 700
    assert "Union" not in outcome.err
    assert "usage" not in outcome.err
    for part in parts:
        assert part in outcome.err


def start(arguments: Iterable[object], **environment: str) -> subprocess.Popen:
    """Start ``mmie ARGUMENTS`` in a process of its own, on one thread, without standard input."""
    return subprocess.Popen(
        [sys.executable, "-m", "mmie.cli", *map(str, arguments)],
        cwd=REPOSITORY,
        env=single_thread_environment(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> Outcome:
    """Wait for a process that `start` started."""
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    return Outcome(process.returncode, out, err)


def single_thread_environment(**environment: str) -> dict[str, str]:
    """Return the environment of a process on one thread that can import the tests' modules."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS), **environment}


def tiny_options(
    method: str, corpus: Path, run_dir: Path, encoder: Path | None = None
) -> list[str]:
    """Return the options of a demo configuration with a small corpus, on the CPU.

    Args:
        method: Name of the method in the configuration's name.
        corpus: Folder of the corpus.
        run_dir: Run folder.
        encoder: Folder of the text encoder; by default the corpus's own.
    """
    return [
        f"--config={CONFIGS / f'demo_{method}.yaml'}",
        f"--config={CONFIGS / 'hardware' / 'cpu.yaml'}",
        "--data.corpus.class_path=mmie.data.JsonlCorpus",
        f"--data.corpus.init_args.root={corpus}",
        f"--model.init_args.text_encoder={encoder or corpus / 'encoder'}",
        "--data.batch_size=4",
        "--trainer.max_epochs=1",
        f"--run_dir={run_dir}",
    ]


def metrics(run_dir: Path) -> dict:
    """Read ``metrics.json``."""
    return json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))


def scored_section(run_dir: Path, section: str = "test") -> dict:
    """Read what ``metrics.json`` says of a test, without the command and the hardware."""
    record = metrics(run_dir)[section]
    return {name: value for name, value in record.items() if name not in ("commands", "hardware")}


def predictions(run_dir: Path) -> list[dict]:
    """Read the records of a test, or of a predict, which writes another file."""
    scored = run_dir / "predictions.jsonl"
    return read_jsonl(scored if scored.exists() else run_dir / "unscored.jsonl")


def check_same_predictions(run_dir: Path, other: Path) -> None:
    """Check that two runs predict the same, in the same order.

    Probabilities may differ by rounding, which depends on the other posts of a batch.
    """
    for line, other_line in zip(predictions(run_dir), predictions(other), strict=True):
        probabilities = [item.pop("probability") for item in predicted(line)]
        other_probabilities = [item.pop("probability") for item in predicted(other_line)]
        assert line == other_line
        assert probabilities == pytest.approx(other_probabilities, rel=1e-4)


def predicted(line: dict) -> list[dict]:
    """Return the predicted entities, or the predicted relation, of a record of predictions."""
    return line["entities"] if "entities" in line else line["relations"]


def gold(line: dict) -> list[dict]:
    """Return the gold entities, or the gold relation, of a record of predictions."""
    return predicted(line["gold"])


def spans(items: Iterable[dict]) -> set[tuple[int, int, str]]:
    """Return the offsets and types of entities."""
    return {(item["start"], item["end"], item["type"]) for item in items}


def read_jsonl(file: Path) -> list[dict]:
    """Read the records of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_jsonl(file: Path, records: Iterable[dict]) -> None:
    """Write a file of JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def without_times(epochs: Iterable[dict]) -> list[dict]:
    """Return the values of epochs without their times."""
    timeless = []
    for epoch in epochs:
        timeless.append({name: value for name, value in epoch.items() if name not in TIMES})
    return timeless


class WeightDigest(Callback):
    """Callback that writes a digest of the weights before and after training, on every process.

    Args:
        folder: Folder of the files ``before_RANK`` and ``after_RANK``.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the digest of the first weights."""
        self._write("before", trainer.global_rank, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the digest of the last weights."""
        self._write("after", trainer.global_rank, pl_module)

    def _write(self, name: str, rank: int, module: LightningModule) -> None:
        """Write the digest of a module's parameters."""
        digest = hashlib.sha256()
        for parameter in module.parameters():
            digest.update(parameter.detach().numpy().tobytes())
        (self.folder / f"{name}_{rank}").write_text(digest.hexdigest())


class StopInSecondEpoch(Callback):
    """Callback that raises in the middle of training."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise in the second epoch."""
        if trainer.current_epoch == 1:
            raise RuntimeError("a fault in the second epoch")
