"""What tests of the command line share: the real command, run in this process or in one of its own."""

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

CLOCKS = ("seconds", "train_seconds")
"""What two runs of the same fit do not share."""


@dataclass(frozen=True)
class Outcome:
    """What a command leaves: exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def config(self) -> dict:
        """The configuration that ``--print_config`` printed."""
        return yaml.safe_load(self.out)


def run(*arguments: object) -> Outcome:
    """``mmie ARGUMENTS`` in this process."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    line = ["mmie", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", line),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as leaving:
            status = int(leaving.code or 0)
    return Outcome(status, out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> Outcome:
    """``mmie ARGUMENTS`` in this process; it must not fail."""
    outcome = run(*arguments)
    assert outcome.status == 0, outcome.err
    return outcome


def refused(outcome: Outcome, *parts: str) -> None:
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
    """``mmie ARGUMENTS`` in a process of its own, on one thread, that nobody can answer questions of."""
    return subprocess.Popen(
        [sys.executable, "-m", "mmie.cli", *map(str, arguments)],
        cwd=REPOSITORY,
        env=one_thread(**environment),
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


def one_thread(**environment: str) -> dict[str, str]:
    """The environment of a light process that can import the tests' modules."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS), **environment}


def tiny(method: str, corpus: Path, run_dir: Path, encoder: Path | None = None) -> list[str]:
    """Options of a demo configuration over a small corpus on the CPU."""
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
    """The content of ``metrics.json``."""
    return json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))


def predictions(run_dir: Path) -> list[dict]:
    """The lines of ``predictions.jsonl``."""
    return read_jsonl(run_dir / "predictions.jsonl")


def check_same_predictions(run_dir: Path, other: Path) -> None:
    """Check that two runs predict the same, in the same order.

    Probabilities may differ by what the other posts of a batch do to rounding.
    """
    for mine, theirs in zip(predictions(run_dir), predictions(other), strict=True):
        probabilities = [
            [item.pop("probability") for item in predicted(line)] for line in (mine, theirs)
        ]
        assert mine == theirs
        assert probabilities[0] == pytest.approx(probabilities[1], rel=1e-4)


def predicted(line: dict) -> list[dict]:
    """The predicted entities, or the predicted relation, of a line of ``predictions.jsonl``."""
    return line["entities"] if "entities" in line else line["relations"]


def gold(line: dict) -> list[dict]:
    """The gold entities, or the gold relation, of a line of ``predictions.jsonl``."""
    return predicted(line["gold"])


def spans(items: Iterable[dict]) -> set[tuple[int, int, str]]:
    """Offsets and types of entities."""
    return {(item["start"], item["end"], item["type"]) for item in items}


def read_jsonl(file: Path) -> list[dict]:
    """Records of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_jsonl(file: Path, records: Iterable[dict]) -> None:
    """A file of JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def without_clocks(epochs: Iterable[dict]) -> list[dict]:
    """Scores of epochs."""
    return [
        {name: value for name, value in epoch.items() if name not in CLOCKS} for epoch in epochs
    ]


class WeightDigest(Callback):
    """Writes, on every process, a digest of the trained weights, and of what they were before training.

    Args:
        folder: Where ``before_RANK`` and ``after_RANK`` go.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the digest of the first weights."""
        self._write("before", trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the digest of the last weights."""
        self._write("after", trainer, pl_module)

    def _write(self, when: str, trainer: Trainer, module: LightningModule) -> None:
        digest = hashlib.sha256()
        for parameter in module.parameters():
            digest.update(parameter.detach().numpy().tobytes())
        (self.folder / f"{when}_{trainer.global_rank}").write_text(digest.hexdigest())


class StopInSecondEpoch(Callback):
    """A fault in the midst of training."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise in the second epoch."""
        if trainer.current_epoch == 1:
            raise RuntimeError("a fault in the second epoch")
