"""Lightning hooks of the methods: losses and scores of every step, optimiser and schedule."""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric, Metric
from transformers import get_scheduler

from mmie.blocks.heads import Head
from mmie.blocks.text_encoder import TextEncoder
from mmie.methods.initialisation import initialise_from
from mmie.methods.optimizer import EmbeddingAdamW, use_sparse_gradients
from mmie.methods.regularisation import Regularisation
from mmie.methods.tasks import ExtractionTask
from mmie.methods.window_scores import WindowEntities
from mmie.metrics import TEMPERATURES, BestTemperature, CalibrationError, SpanF1
from mmie.types import Batch, Encoding, Prediction, Schema
from mmie.utils.terminal import printable

Stage = Literal["val", "test"]
Schedule = Literal["linear", "cosine", "constant"]
SCHEDULES: dict[Schedule, str] = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant_with_warmup",
}
"""Names of the schedules in transformers."""


class LightningHooks(LightningModule, metaclass=ABCMeta):
    """Training, evaluation and optimisation of a method.

    `mmie.methods.base.ExtractionModule`, the only direct subclass, sets the attributes.

    Attributes:
        schema: Description of the data.
        text: The text encoder.
        task: The task.
        head: The head.
        compiles: Whether `encode` is compiled for training.
        regularisation: Losses of training that work with every method.
        warmup_ratio: Share of the steps in which the learning rates rise.
        schedule: Course of the learning rates after the warm-up.
        init_from: Checkpoint whose weights a fit starts from.
    """

    schema: Schema
    text: TextEncoder
    task: ExtractionTask
    head: Head
    compiles: bool
    regularisation: Regularisation
    warmup_ratio: float
    schedule: Schedule
    init_from: str | None

    @abstractmethod
    def encode(self, batch: Batch) -> Encoding:
        """Encode the text conditioned on the images."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """Put every trainable parameter into exactly one group of the optimiser."""

    @abstractmethod
    def rebuild_args(self) -> dict[str, Any]:
        """Return constructor arguments that build the same network without a hub or folder."""

    def build_metrics(self) -> None:
        """Create empty metrics of the validation and test splits."""
        self.metrics = nn.ModuleDict({stage: self.task.build_metric() for stage in ("val", "test")})
        self.window_entities = WindowEntities()
        self.best_temperature = BestTemperature()
        self.calibration_error = CalibrationError()
        self.losses = nn.ModuleDict(
            {stage: MeanMetric().set_dtype(torch.float64) for stage in ("val", "test")}
        )

    @cached_property
    def _encode_in_training(self) -> Callable[[Batch], Encoding]:
        """`encode`, compiled on request, with one graph for all lengths."""
        return torch.compile(self.encode, dynamic=True) if self.compiles else self.encode

    def training_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of a training step by name, whose sum is minimised."""
        embedding: nn.Module = self.text.model.get_input_embeddings()
        return self.regularisation.losses(self._encode_in_training, self.head, embedding, batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute and log the task's loss plus those of the method and of the regularisation."""
        losses = self.training_losses(batch)
        loss = torch.stack(list(losses.values())).sum()
        logged = {"train/loss": loss.detach()}
        for name, part in losses.items():
            logged[f"train/{name}_loss"] = part.detach()
        self.log("train/loss_step", loss.detach(), on_step=True, prog_bar=True)
        self.log_dict(logged, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score a batch of the validation split."""
        states, decoded = self._evaluate(batch, "val")
        if batch.origins is not None:
            predictions = self.task.predict(self.head, states, decoded, batch)
            self.window_entities.collect(batch, predictions)
        losses = self.head.losses_at(TEMPERATURES, states, batch)  # (temperatures, batch)
        self.best_temperature.update(losses[:, batch.counted])

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Prediction]]:
        """Score a batch of the test split and return its predictions to the callbacks."""
        states, decoded = self._evaluate(batch, "test")
        predictions = self.task.predict(self.head, states, decoded, batch)
        self.window_entities.collect(batch, predictions)
        self.calibration_error.update(*self.task.calibration_pairs(batch, predictions))
        return {"predictions": predictions}

    def on_validation_epoch_end(self) -> None:
        """Log the validation scores of all processes and set the head's temperature."""
        self._log_scores("val")
        self.head.temperature.copy_(self.best_temperature.compute())
        self.best_temperature.reset()

    def on_test_epoch_end(self) -> None:
        """Log the test scores of all processes."""
        self._log_scores("test")
        self.log("test/calibration_error", self.calibration_error.compute())
        self.calibration_error.reset()

    def _evaluate(self, batch: Batch, stage: Stage) -> tuple[Tensor, Tensor]:
        """Add a batch to the metrics of a stage and return its states and decoded ids."""
        states = self.encode(batch).states  # (batch, tokens, hidden)
        decoded = self.head.decode(states, batch)
        metric, loss = self._stage_metrics(stage)
        self.task.update_metric(metric, batch, decoded)
        loss.update(self.head.loss(states, batch)[batch.counted])
        return states, decoded

    def _log_scores(self, stage: Stage) -> None:
        """Log and reset the metrics of a stage."""
        metric, loss = self._stage_metrics(stage)
        if isinstance(metric, SpanF1):
            self.window_entities.retract_overlaps(metric)
        scores = {f"{stage}/{name}": value for name, value in metric.compute().items()}
        self.log(f"{stage}/f1", scores.pop(f"{stage}/f1"), prog_bar=True)
        self.log_dict({**scores, f"{stage}/loss": loss.compute().float()})
        metric.reset()
        loss.reset()

    def _stage_metrics(self, stage: Stage) -> tuple[Metric, MeanMetric]:
        """Return the metric and the mean loss of a stage."""
        return self.metrics[stage], self.losses[stage]  # type: ignore[return-value]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build AdamW over the groups, with linear warm-up and then the schedule.

        The weights of ``init_from`` are copied before. In `setup` it would be too early, since the
        trainer does not decide until later whether it continues a checkpoint. After this method it
        would be too late, since the loaders cache the features of a frozen backbone.
        """
        self._initialise()
        # compilers, clipping and other devices do not support sparse gradients
        is_single_cpu = self.device.type == "cpu" and self.trainer.world_size == 1
        is_sparse = is_single_cpu and not self.compiles and not self.trainer.gradient_clip_val
        use_sparse_gradients(self.modules(), is_sparse)
        optimizer = EmbeddingAdamW(self.parameter_groups(), self.modules())
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = get_scheduler(
            SCHEDULES[self.schedule], optimizer, round(self.warmup_ratio * steps), steps
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _initialise(self) -> None:
        """Copy the weights of ``init_from``, unless the fit continues another one."""
        if self.init_from is not None and self.trainer.ckpt_path is None:
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            tokenizer = None if data is None else data.state_dict().get("tokenizer")
            rank_zero_info(printable(initialise_from(self, self.init_from, tokenizer)))

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: LightningOptimizer | Optimizer,
        *args: Any,
        **settings: Any,
    ) -> None:
        """Step and free the gradients, which Lightning would hold through the next forward pass."""
        super().optimizer_step(epoch, batch_idx, optimizer, *args, **settings)
        optimizer.zero_grad()
