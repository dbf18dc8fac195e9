"""The callback that records a run's scores and costs."""

import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mmie.checkpoints import Checkpoint, CheckpointError
from mmie.checkpoints.checkpoint import unfit_message
from mmie.data.corpora.editions import find_edition
from mmie.metrics import PrecisionRecallF1
from mmie.runs.checkpoint_digests import CHECKPOINTS
from mmie.runs.facts import COMMANDS_KEY, RUN
from mmie.runs.folder import BEST, LAST, clear_run, lies_in
from mmie.runs.metrics import (
    CORPUS_NOTE,
    COUNT,
    INSTANCES,
    is_partial,
    read_metrics,
    update_metrics,
    with_prefix,
    write_metrics,
)
from mmie.runs.picture_tests import (
    TEST_TITLES,
    join_shuffled_tests,
    picture_suffix,
    predictions_file,
)
from mmie.training.facts import encoder_digests, facts_of_fit, facts_of_test
from mmie.training.prediction_writer import PredictionWriter
from mmie.training.summary import print_summary
from mmie.training.trainers import corpus_note, is_writer, logged_values, pictures_of
from mmie.training.type_scores import read_type_scores
from mmie.types import Batch, MmieError
from mmie.utils.wording import format_epoch, format_measure, name_measure


class RunRecorder(Callback):
    """Writes ``metrics.json``, and prints a line for each epoch where no progress bar can show.

    Args:
        monitor: Logged value that tells the best epoch.
        mode: ``min`` or ``max``: which of it is best.
        predictions: Callback before this one that writes the predictions. A test records what it
            wrote.
        command: Command line that started the process, which the record keeps.
    """

    def __init__(
        self,
        monitor: str = "val/f1",
        mode: str = "max",
        predictions: PredictionWriter | None = None,
        command: str = "",
    ) -> None:
        self.monitor = monitor
        self.mode = mode
        self.predictions = predictions
        self.commands = [command] if command else []
        self.epochs: list[dict[str, float]] = []
        self._epoch_start = 0.0
        self._train_seconds = 0.0
        self._samples = 0
        self._encoders: dict[str, str] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compute the digests of pretrained encoders before a fit changes their weights."""
        if stage == "fit" and is_writer(trainer):
            self._encoders = encoder_digests(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs so far, which a continued fit takes up."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the epochs of a checkpoint."""
        self.epochs = state_dict["epochs"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_start = time.perf_counter()
        self._samples = 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the instances of all processes, which have equally many."""
        self._samples += len(batch) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of training."""
        self._train_seconds = time.perf_counter() - self._epoch_start

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the record, and remove what an earlier fit left, whose weights have been read."""
        if not is_writer(trainer):
            return
        folder = Path(trainer.default_root_dir)
        continued = lies_in(trainer.ckpt_path, folder)
        earlier = read_metrics(folder) if continued else {}
        commands = [*earlier.get(RUN, {}).get(COMMANDS_KEY, []), *self.commands]
        sections: dict[str, Any] = {RUN: facts_of_fit(trainer, self._encoders, commands)}
        if continued:
            sections[CHECKPOINTS] = earlier.get(CHECKPOINTS, {})
        write_metrics(folder, sections)
        clear_run(folder, continued)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch's scores and times, so that an interrupted fit has them too."""
        scores = logged_values(trainer)
        epoch = {
            "epoch": trainer.current_epoch,
            "samples": self._samples,
            "seconds": time.perf_counter() - self._epoch_start,
            "train_seconds": self._train_seconds,
            **with_prefix(scores, "train/"),
            **with_prefix(scores, "val/"),
        }
        self.epochs.append(epoch)
        if trainer.is_global_zero and not sys.stdout.isatty():
            self._print_epoch(trainer, epoch)
        costs = _costs(pl_module)
        self._write(trainer, "fit", {**costs, "best": self._best(), "epochs": self.epochs})

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the fit's outcome."""
        if trainer.is_global_zero and self.epochs:
            folder = Path(trainer.default_root_dir)
            notes = "\n".join(filter(None, (self._describe_best(), corpus_note(trainer))))
            title = "validation" if self.monitor in self._best() else "fit"
            print_summary(folder, title, self._best(), "val/", notes)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record and print the outcome of a validation that is no part of a fit."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._record_scores(trainer, "validate", "val/", "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record and print the test's outcome."""
        pictures = pictures_of(trainer)
        folder = Path(trainer.default_root_dir)
        suffix = picture_suffix(folder, pictures)
        seed = getattr(trainer.datamodule, "seed", None)  # type: ignore[attr-defined]
        data = {"pictures": pictures, "seed": seed, "edition": _edition_of(trainer)}
        data |= facts_of_test(trainer, trainer.limit_test_batches, self.commands)
        by_type: dict[str, PrecisionRecallF1] = {}
        if self.predictions is not None and self.predictions.written:
            data |= self.predictions.written
            module: Any = pl_module
            labels: tuple[str, ...] = module.schema.labels
            by_type = read_type_scores(predictions_file(folder, suffix), labels)
        section = f"test{suffix}"
        self._record_scores(trainer, section, "test/", TEST_TITLES[section], data, by_type)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the predictions, and print where they are."""
        folder = Path(trainer.default_root_dir)
        suffix = picture_suffix(folder, pictures_of(trainer))
        written = {} if self.predictions is None else self.predictions.written
        facts = facts_of_test(trainer, trainer.limit_predict_batches, self.commands)
        data = {**facts, **written, "checkpoint": str(trainer.ckpt_path)}
        self._write(trainer, f"predict{suffix}", data)
        if trainer.is_global_zero:
            print_summary(Path(trainer.default_root_dir), "predictions", {}, "")

    def _print_epoch(self, trainer: Trainer, epoch: Mapping[str, float]) -> None:
        """Print a line with an epoch's loss, monitored value and time."""
        parts = [format_epoch(trainer.current_epoch, trainer.max_epochs)]
        for name in ("train/loss", self.monitor):
            if name in epoch:
                parts.append(f"{name_measure(name)} {format_measure(name, epoch[name])}")
        print(f"{', '.join(parts)}, {epoch['seconds']:.1f} s", flush=True)

    def _describe_best(self) -> str:
        """Describe the best epoch in one line."""
        best = self._best()
        number = format_epoch(int(best["epoch"]), int(self.epochs[-1]["epoch"]) + 1)
        if self.monitor not in best:
            return (
                f"{number} was the last; no epoch was validated, so there is no {BEST}: name "
                f"{LAST} by --ckpt_path to test it"
            )
        value = format_measure(self.monitor, best[self.monitor])
        return f"best {number}, {name_measure(self.monitor)} {value}"

    def _best(self) -> dict[str, float]:
        """Return the epoch that did best in validation, or the last one if none was validated."""
        validated = [epoch for epoch in self.epochs if self.monitor in epoch]
        if not validated:
            return self.epochs[-1]
        choose = max if self.mode == "max" else min
        return choose(validated, key=lambda epoch: epoch[self.monitor])

    def _record_scores(
        self,
        trainer: Trainer,
        section: str,
        prefix: str,
        title: str,
        data: Mapping[str, Any] | None = None,
        by_type: Mapping[str, PrecisionRecallF1] | None = None,
    ) -> None:
        """Write and print the scores of a validation or test.

        Args:
            trainer: The trainer.
            section: Section of ``metrics.json``.
            prefix: Beginning of the names of the scores.
            title: What the scores are of, in words.
            data: What to write beside them.
            by_type: Scores of each entity type or relation label to print.
        """
        folder = Path(trainer.default_root_dir)
        scores = with_prefix(logged_values(trainer), prefix)
        outcome = {**scores, **(data or {}), "checkpoint": str(trainer.ckpt_path)}
        if section == "test_shuffled":
            outcome = join_shuffled_tests(read_metrics(folder).get(section, {}), outcome)
        self._write(trainer, section, outcome)
        if trainer.is_global_zero:
            notes = [corpus_note(trainer)]
            if data and is_partial(data):
                notes.append(
                    f"{data[COUNT]} of {data[INSTANCES]} instances were tested: reports leave out "
                    "such a test"
                )
            note = "\n".join(filter(None, notes))
            print_summary(folder, title, scores, prefix, note, by_type)

    def _write(self, trainer: Trainer, section: str, values: dict[str, Any]) -> None:
        """Replace a section of ``metrics.json``, once for all processes.

        The note of the corpus, if there is one, is added.
        """
        note = corpus_note(trainer)
        if note:
            values = {**values, CORPUS_NOTE: note}
        if is_writer(trainer):
            update_metrics(Path(trainer.default_root_dir), section, values)


def training_progress(checkpoint: Checkpoint) -> tuple[int, list[dict[str, float]]]:
    """Return the steps that a checkpoint was trained for, and its epochs with scores and times.

    Raises:
        CheckpointError: The checkpoint does not say, or lacks what a fit needs to continue.
    """
    training = checkpoint.training
    try:
        state = training["callbacks"].get(RunRecorder.__qualname__, {})
        steps, epochs = int(training["global_step"]), list(state.get("epochs", []))
        for name in ("epoch", "loops", "optimizer_states", "lr_schedulers"):
            training[name]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"its state of training lacks {error}"
        message = unfit_message(checkpoint.source, checkpoint.version, reason)
        raise CheckpointError(message) from error
    return steps, epochs


def _edition_of(trainer: Trainer) -> str | None:
    """Return the edition of the trainer's corpus, None if a split of it cannot be read."""
    try:
        return find_edition(trainer.datamodule.corpus).name  # type: ignore[attr-defined]
    except (MmieError, AttributeError):  # other data modules have no corpus
        return None


def _costs(module: LightningModule) -> dict[str, Any]:
    """Return the numbers of parameters and the peak memory of a run."""
    num_parameters = num_trained = 0
    for parameter in module.parameters():
        num_parameters += parameter.numel()
        num_trained += parameter.numel() * parameter.requires_grad
    costs: dict[str, Any] = {
        "parameters": num_parameters,
        "trained_parameters": num_trained,
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    if torch.cuda.is_available():
        costs["peak_gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return costs
