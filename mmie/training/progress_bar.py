"""Progress bar of fits, validations, tests and predicts on a terminal."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import CustomBarColumn
from lightning.pytorch.trainer.states import TrainerFn
from rich.progress import (
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from mmie.utils.wording import format_epoch, format_measure, name_measure

_LOSS = "train/loss_step"


class RunProgressBar(RichProgressBar):
    """Lightning's progress bar on a line that fits the terminal.

    The bar takes the width that the epoch, the numbers of batches, the times and the scores leave.

    Args:
        monitor: Logged value to show beside the loss.

    Attributes:
        scores: The loss of the last step and the monitored value, as far as they are logged.
    """

    def __init__(self, monitor: str = "val/f1") -> None:
        super().__init__(refresh_rate=10)
        self.monitor = monitor
        self.scores = ""

    @property
    def sanity_check_description(self) -> str:
        """Description of the bar of the validation before a fit."""
        return "first check"

    @property
    def validation_description(self) -> str:
        """Description of the bar of a validation."""
        return "validation"

    @property
    def test_description(self) -> str:
        """Description of the bar of a test."""
        return "test"

    @property
    def predict_description(self) -> str:
        """Description of the bar of a predict."""
        return "prediction"

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Note the scores, and return nothing for Lightning's column, which breaks lines."""
        self.scores = self.describe_scores(super().get_metrics(trainer, pl_module))
        return {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar of a fit, so that what callbacks print later stands below it."""
        super().on_train_end(trainer, pl_module)
        self.teardown(trainer, pl_module, "fit")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar of a validation that is no part of a fit."""
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == TrainerFn.VALIDATING:
            self.teardown(trainer, pl_module, "validate")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar of a test."""
        super().on_test_end(trainer, pl_module)
        self.teardown(trainer, pl_module, "test")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar of a predict."""
        super().on_predict_end(trainer, pl_module)
        self.teardown(trainer, pl_module, "predict")

    def describe_scores(self, values: Mapping[str, Any]) -> str:
        """Describe the loss of the last step and the monitored value, as far as they are logged."""
        parts = []
        for name in (_LOSS, self.monitor):
            if name in values:
                words = name_measure(name).removeprefix("training ").replace("validation", "val.")
                parts.append(f"{words} {format_measure(name, float(values[name]))}")
        return "  ".join(parts)

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """Build the columns: what runs, the bar, batches, elapsed and remaining time, scores."""
        return [
            TextColumn("{task.description}", markup=False),
            CustomBarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            _ScoreColumn(self),
        ]

    def _get_train_description(self, current_epoch: int) -> str:
        """Name the epoch. Lightning offers no other way to count from 1."""
        return format_epoch(current_epoch, self.trainer.max_epochs)


class _ScoreColumn(ProgressColumn):
    """Scores of a fit, beside the bar of its training.

    Args:
        bar: The progress bar.
    """

    def __init__(self, bar: RunProgressBar) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._bar = bar

    def render(self, task: Task) -> Text:
        """Render the scores, or nothing for other bars."""
        is_training = task.id == self._bar.train_progress_bar_id
        return Text(self._bar.scores if is_training else "")
