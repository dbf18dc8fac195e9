"""The run folder: what every fit and test leaves behind, and the table that says where it is.

``config.yaml``, ``best.ckpt`` and ``last.ckpt``, ``metrics.csv`` (by epoch), ``metrics.json`` (the outcome) and, after
a test, ``predictions.jsonl``.
"""

import json
import os
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from rich.table import Table

from mmie.data.batching import Instance
from mmie.types import Batch, Extraction, MmieError

CONFIG, METRICS, PREDICTIONS, BEST, LAST = "config.yaml", "metrics.json", "predictions.jsonl", "best.ckpt", "last.ckpt"


class RunFolderError(MmieError, RuntimeError):
    """A run folder that already holds what would be overwritten, or lacks what is asked for."""


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuse to fit into a folder that holds another fit.

    Raises:
        RunFolderError: It does, and ``overwrite`` is false.
    """
    if (folder / LAST).exists() and not overwrite:
        raise RunFolderError(
            f"{folder} holds a run already: choose another --run_dir, continue it with --ckpt_path {folder / LAST}, "
            "or give --overwrite true"
        )


def best_checkpoint(folder: Path) -> Path:
    """The checkpoint that scored best in validation.

    Raises:
        RunFolderError: The folder has none.
    """
    if not (folder / BEST).exists():
        raise RunFolderError(f"{folder / BEST} does not exist: fit first, or name a checkpoint with --ckpt_path")
    return folder / BEST


def update_metrics(folder: Path, section: str, values: dict[str, Any]) -> None:
    """Replace one section of ``metrics.json``, atomically."""
    path = folder / METRICS
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    _write(path, json.dumps({**known, section: values}, indent=2, sort_keys=True) + "\n")


class SaveRunConfig(SaveConfigCallback):
    """Writes the whole configuration to the run folder and hands it to the loggers; a test keeps the fit's."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write ``config.yaml``."""
        text = self.parser.dump(self.config, skip_none=False)
        path = Path(trainer.default_root_dir) / CONFIG
        if stage == "fit" or not path.exists():
            _write(path, text)
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):  # it would only write the same file again
                logger.log_hyperparams(self.config.as_dict())


class RunRecorder(Callback):
    """Writes ``metrics.json``, and prints a line an epoch where no progress bar can show."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self._epoch_start = self._train_seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The epochs so far, so that a continued fit knows them."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the checkpoint left off."""
        self.epochs = state_dict["epochs"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_start = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of training."""
        self._train_seconds = time.perf_counter() - self._epoch_start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the epoch's scores and times."""
        scores = {name: value for name, value in _numbers(trainer).items() if name.startswith(("train/", "val/"))}
        times = {"seconds": time.perf_counter() - self._epoch_start, "train_seconds": self._train_seconds}
        self.epochs.append({"epoch": trainer.current_epoch, **times, **scores})
        if trainer.is_global_zero and not sys.stdout.isatty():
            print(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  train/loss {scores['train/loss']:.4f}  "
                f"val/f1 {scores['val/f1']:.4f}  {times['seconds']:.1f} s",
                flush=True,
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the fit's outcome."""
        if trainer.is_global_zero and self.epochs:
            best = max(self.epochs, key=lambda epoch: epoch["val/f1"])
            update_metrics(
                Path(trainer.default_root_dir), "fit", {**_sizes(pl_module), "best": best, "epochs": self.epochs}
            )
            _print_summary(trainer, "best epoch", best, "val/")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the test's outcome."""
        if trainer.is_global_zero:
            scores = {name: value for name, value in _numbers(trainer).items() if name.startswith("test/")}
            update_metrics(Path(trainer.default_root_dir), "test", {**scores, "checkpoint": str(trainer.ckpt_path)})
            _print_summary(trainer, "test", scores, "test/")


class PredictionWriter(Callback):
    """Writes ``predictions.jsonl`` at the end of a test: a line for every instance of the split, in its order."""

    def __init__(self) -> None:
        self._answers: dict[int, Extraction] = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401  (Lightning's own type says no more)
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's answers, copies left out."""
        numbers, counted = batch.index.tolist(), batch.counted.tolist()
        for number, is_counted, extraction in zip(numbers, counted, outputs["extractions"], strict=True):
            if is_counted:
                self._answers[number] = extraction

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the answers of all processes and write them."""
        gathered: list[dict[int, Extraction]] = [self._answers]
        if dist.is_available() and dist.is_initialized():
            gathered = [{} for _ in range(dist.get_world_size())]
            dist.all_gather_object(gathered, self._answers)
        if trainer.is_global_zero:
            instances = trainer.datamodule.instances["test"]  # type: ignore[attr-defined]
            answers = {number: extraction for part in gathered for number, extraction in part.items()}
            lines = [json.dumps(_prediction(instances[n], answers[n]), ensure_ascii=False) for n in sorted(answers)]
            _write(Path(trainer.default_root_dir) / PREDICTIONS, "\n".join(lines) + "\n")
        self._answers = {}


def _prediction(instance: Instance, extraction: Extraction) -> dict[str, Any]:
    """One line of ``predictions.jsonl``: the post, the gold answer and the model's."""
    post = instance.post
    line: dict[str, Any] = {
        "id": post.id,
        "words": post.words,
        "image": None if post.image is None else str(post.image),
    }
    if instance.relation is not None:
        return {**line, "gold": asdict(instance.relation), "predicted": asdict(extraction.relations[0])}
    found, gold = ([asdict(entity) for entity in entities] for entities in (extraction.entities, post.entities))
    return {**line, "gold": gold, "predicted": found}


def _numbers(trainer: Trainer) -> dict[str, float]:
    """All that has been logged, as floats."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _sizes(module: LightningModule) -> dict[str, Any]:
    """Parameters and peak memory of a run."""
    parameters = list(module.parameters())
    sizes: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    if torch.cuda.is_available():
        sizes["peak_gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return sizes


def _print_summary(trainer: Trainer, title: str, scores: dict[str, float], prefix: str) -> None:
    """The outcome, and where everything lies."""
    folder = Path(trainer.default_root_dir)
    table = Table("", "", title=f"{title} of {folder}", show_header=False)
    for name in ("precision", "recall", "f1", "accuracy"):
        if prefix + name in scores:
            table.add_row(name, f"{100 * scores[prefix + name]:.2f}")
    for name in (BEST, LAST, METRICS, PREDICTIONS, CONFIG):
        if (folder / name).exists():
            table.add_row(name.partition(".")[0], str(folder / name))
    Console().print(table)


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
