"""The run folder: what every fit and test leaves behind, and the table that says where it is.

``config.yaml``, ``best.ckpt`` and ``last.ckpt``, ``metrics.csv`` (by epoch), ``metrics.json`` (the outcome: a section
each for fit, validate and test) and, after a test or predict, ``predictions.jsonl``. What a test with other pictures
writes, `mmie.training.picture_tests` says; with W&B, ``wandb_id.txt`` names the run there.
"""

import json
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.table import Table

from mmie.data.instances import Instance
from mmie.training.picture_tests import joined_tests, picture_suffix, pictures_of
from mmie.training.wandb_logger import RUN_ID
from mmie.types import Batch, MmieError, Prediction
from mmie.utils.distributed import rank_and_world_size
from mmie.utils.files import atomic_write

CONFIG, METRICS, PREDICTIONS, BEST, LAST = (
    "config.yaml",
    "metrics.json",
    "predictions.jsonl",
    "best.ckpt",
    "last.ckpt",
)
_FILE_WIDTH = 160
"""Characters in a line of a table that goes to a file."""


class RunFolderError(MmieError, RuntimeError):
    """A run folder that already holds what would be overwritten, or lacks what is asked for."""


def check_free(folder: Path, overwrite: bool, checkpoint: str | None = None) -> None:
    """Refuse to fit into a folder that holds another fit than the one that ``checkpoint`` continues.

    Raises:
        RunFolderError: It does, and ``overwrite`` is false; or it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"run_dir {folder} is a file: name a folder")
    if (folder / LAST).exists() and not overwrite and not lies_in(checkpoint, folder):
        raise RunFolderError(
            f"{folder} holds a run already: choose another --run_dir, continue it with --ckpt_path {folder / LAST}, "
            "or give --overwrite true"
        )


def own_checkpoint(folder: Path, name: str) -> str:
    """The checkpoint of a run folder that ``best`` or ``last`` names.

    Raises:
        RunFolderError: The folder has none.
    """
    path = folder / f"{name}.ckpt"
    if not path.exists():
        raise RunFolderError(
            f"{path} does not exist: no epoch of a fit has ended there; fit without --ckpt_path"
        )
    return str(path)


def best_checkpoint(folder: Path) -> Path:
    """The checkpoint that scored best in validation.

    Raises:
        RunFolderError: The folder has none.
    """
    if not (folder / BEST).exists():
        raise RunFolderError(
            f"{folder / BEST} does not exist: fit first, or name a checkpoint with --ckpt_path"
        )
    return folder / BEST


def update_metrics(folder: Path, section: str, values: dict[str, Any]) -> None:
    """Replace one section of ``metrics.json``, atomically."""
    known = read_metrics(folder)
    _write(
        folder / METRICS, json.dumps({**known, section: values}, indent=2, sort_keys=True) + "\n"
    )


def read_metrics(folder: Path) -> dict[str, Any]:
    """The sections of ``metrics.json``; none if there is no such file."""
    path = folder / METRICS
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known


def lies_in(checkpoint: str | Path | None, folder: Path) -> bool:
    """Whether a checkpoint is one of the run folder's own."""
    return checkpoint is not None and Path(checkpoint).resolve().parent == folder.resolve()


def known_epochs(checkpoint: Mapping[str, Any]) -> list[dict[str, float]]:
    """What the checkpoint of a run knows of its epochs: their scores and times."""
    epochs: list[dict[str, float]] = (
        checkpoint["callbacks"].get(RunRecorder.__qualname__, {}).get("epochs", [])
    )
    return epochs


def _clear(folder: Path, continued: bool) -> None:
    """Remove what an earlier fit left and this one makes untrue, and what was half written when it was killed."""
    own = [] if continued else [folder / LAST, folder / BEST, folder / RUN_ID]
    for file in [*own, folder / METRICS, *_predictions(folder), *folder.glob(".*.partial*")]:
        file.unlink(missing_ok=True)


def _predictions(folder: Path) -> list[Path]:
    """All files of predictions, those of the main test first."""
    return sorted(
        folder.glob("predictions*.jsonl"), key=lambda file: (file.name != PREDICTIONS, file.name)
    )


class SaveRunConfig(SaveConfigCallback):
    """Writes the whole configuration to the run folder and hands it to the loggers; a test keeps the fit's.

    A fit writes it when training starts, so that until then a run that is to be overwritten stays what it is.
    """

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hand the configuration to the loggers; write ``config.yaml`` if there is none beside what is tested."""
        path = Path(trainer.default_root_dir) / CONFIG
        if stage != "fit" and not path.exists():
            _write(path, self._lasting_text())
        text = self._lasting_text() if stage == "fit" else path.read_text(encoding="utf-8")
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(text))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``config.yaml``."""
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            _write(Path(trainer.default_root_dir) / CONFIG, self._lasting_text())

    def _lasting_text(self) -> str:
        """The configuration without what holds for this one call only."""
        lasting = self.config.clone()
        lasting["ckpt_path"], lasting["overwrite"] = None, False
        text: str = self.parser.dump(lasting, skip_unset=False)
        return text


class RunRecorder(Callback):
    """Writes ``metrics.json``, and prints a line an epoch where no progress bar can show.

    Args:
        monitor: The logged value that tells the best epoch.
        mode: ``min`` or ``max``: which of it is best.
    """

    def __init__(self, monitor: str = "val/f1", mode: str = "max") -> None:
        self.monitor, self.mode = monitor, mode
        self.epochs: list[dict[str, float]] = []
        self._epoch_start = self._train_seconds = 0.0
        self._samples = 0

    def state_dict(self) -> dict[str, Any]:
        """The epochs so far, so that a continued fit knows them."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the checkpoint left off."""
        self.epochs = state_dict["epochs"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_start, self._samples = time.perf_counter(), 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the instances; every process has as many."""
        self._samples += len(batch) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of training."""
        self._train_seconds = time.perf_counter() - self._epoch_start

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clear the folder of what an earlier fit left there; this one may have started from its weights."""
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            folder = Path(trainer.default_root_dir)
            _clear(folder, lies_in(trainer.ckpt_path, folder))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the epoch's scores and times, and write them all, so that an interrupted fit has them too."""
        scores = {
            name: value
            for name, value in _numbers(trainer).items()
            if name.startswith(("train/", "val/"))
        }
        times = {
            "seconds": time.perf_counter() - self._epoch_start,
            "train_seconds": self._train_seconds,
        }
        self.epochs.append(
            {"epoch": trainer.current_epoch, "samples": self._samples, **times, **scores}
        )
        if trainer.is_global_zero and not sys.stdout.isatty():
            shown = "".join(
                f"  {name} {scores[name]:.4f}"
                for name in ("train/loss", self.monitor)
                if name in scores
            )
            print(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}{shown}  {times['seconds']:.1f} s",
                flush=True,
            )
        self._write(
            trainer, "fit", {**_sizes(pl_module), "best": self._best(), "epochs": self.epochs}
        )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the fit's outcome."""
        if trainer.is_global_zero and self.epochs:
            _print_summary(trainer, "best epoch", self._best(), "val/")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the outcome of a validation that is no part of a fit."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write_scores(trainer, "validate", "val/")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the test's outcome."""
        folder, pictures = Path(trainer.default_root_dir), pictures_of(trainer)
        suffix = picture_suffix(folder, pictures)
        data = {"pictures": pictures, "seed": getattr(trainer.datamodule, "seed", None)}  # type: ignore[attr-defined]
        self._write_scores(trainer, f"test{suffix}", "test/", data)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print where the predictions are."""
        if trainer.is_global_zero:
            _print_summary(trainer, "predictions", {}, "")

    def _best(self) -> dict[str, float]:
        """The epoch that did best in validation; the last one if none was validated."""
        scored = [epoch for epoch in self.epochs if self.monitor in epoch]
        choose = max if self.mode == "max" else min
        return choose(scored, key=lambda epoch: epoch[self.monitor]) if scored else self.epochs[-1]

    def _write_scores(
        self, trainer: Trainer, section: str, prefix: str, data: dict[str, Any] | None = None
    ) -> None:
        """Write the scores that start with ``prefix`` beside what is known of the data, and print them."""
        scores = {
            name: value for name, value in _numbers(trainer).items() if name.startswith(prefix)
        }
        outcome = {**scores, **(data or {}), "checkpoint": str(trainer.ckpt_path)}
        if section == "test_shuffled":
            outcome = joined_tests(
                read_metrics(Path(trainer.default_root_dir)).get(section, {}), outcome
            )
        self._write(trainer, section, outcome)
        if trainer.is_global_zero:
            _print_summary(trainer, section, scores, prefix)

    def _write(self, trainer: Trainer, section: str, values: dict[str, Any]) -> None:
        """Replace a section of ``metrics.json``, once for all processes; a ``fast_dev_run`` leaves nothing."""
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            update_metrics(Path(trainer.default_root_dir), section, values)


class PredictionWriter(Callback):
    """Writes ``predictions.jsonl`` after a test or predict: a line for every instance of the split, in its order."""

    def __init__(self) -> None:
        self._predictions: dict[int, Prediction] = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's answers."""
        self._keep(batch, outputs["predictions"])

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's answers."""
        self._keep(batch, outputs)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the answers of all processes."""
        self._write(trainer)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the answers of all processes."""
        self._write(trainer)

    def _keep(self, batch: Batch, predictions: list[Prediction]) -> None:
        """Remember answers by their place in the split, copies left out."""
        for place, is_counted, prediction in zip(
            batch.index.tolist(), batch.counted.tolist(), predictions, strict=True
        ):
            if is_counted:
                self._predictions[place] = prediction

    def _write(self, trainer: Trainer) -> None:
        """Gather the answers of all processes and write them."""
        gathered: list[dict[int, Prediction]] = [self._predictions]
        _, world = rank_and_world_size()
        if world > 1:
            gathered = [{} for _ in range(world)]
            dist.all_gather_object(gathered, self._predictions)
        self._predictions = {}
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            instances = trainer.datamodule.instances["test"]  # type: ignore[attr-defined]
            predictions = {
                place: prediction for part in gathered for place, prediction in part.items()
            }
            lines = [
                json.dumps(_prediction(instances[n], predictions[n]), ensure_ascii=False)
                for n in sorted(predictions)
            ]
            folder = Path(trainer.default_root_dir)
            name = f"predictions{picture_suffix(folder, pictures_of(trainer))}.jsonl"
            _write(folder / name, "\n".join(lines) + "\n")


def _prediction(instance: Instance, prediction: Prediction) -> dict[str, Any]:
    """One line of ``predictions.jsonl``: the post, the gold answer and the model's."""
    post = instance.post
    line: dict[str, Any] = {
        "id": post.id,
        "words": post.words,
        "image": None if post.image is None else str(post.image),
    }
    if instance.relation is not None:
        (probability,) = prediction.probabilities
        said = {"predicted": asdict(prediction.relations[0]), "probability": probability}
        return {**line, "gold": asdict(instance.relation), **said}
    found, gold = (
        [asdict(entity) for entity in entities] for entities in (prediction.entities, post.entities)
    )
    return {**line, "gold": gold, "predicted": found, "probabilities": prediction.probabilities}


def _numbers(trainer: Trainer) -> dict[str, float]:
    """All that has been logged, as floats."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _sizes(module: LightningModule) -> dict[str, Any]:
    """Parameters and peak memory of a run."""
    parameters = list(module.parameters())
    sizes: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(
            parameter.numel() for parameter in parameters if parameter.requires_grad
        ),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    if torch.cuda.is_available():
        sizes["peak_gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return sizes


def _print_summary(trainer: Trainer, title: str, scores: dict[str, float], prefix: str) -> None:
    """The outcome, and where everything lies."""
    folder = Path(trainer.default_root_dir)
    table = Table(title=f"{title} of {folder}", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # a path must not be cut
    for name in ("precision", "recall", "f1", "accuracy", "calibration_error"):
        if prefix + name in scores:
            table.add_row(name.replace("_", " "), f"{100 * scores[prefix + name]:.2f}")
    if prefix + "loss" in scores:
        table.add_row("loss", f"{scores[prefix + 'loss']:.4f}")
    for file in (
        folder / BEST,
        folder / LAST,
        folder / METRICS,
        *_predictions(folder),
        folder / CONFIG,
    ):
        if file.exists():
            table.add_row(file.stem, str(file))
    console = Console()
    console.width = console.width if console.is_terminal else _FILE_WIDTH
    console.print(table)


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    atomic_write(path, lambda file: file.write_text(text, encoding="utf-8"))
