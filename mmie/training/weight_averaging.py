"""Exponential moving average of the weights, which is validated, tested and kept in place of them.

Source: Tarvainen & Valpola, Mean teachers are better role models, NeurIPS 2017, Equation 1, with
the warm-up of TensorFlow's ``ExponentialMovingAverage``.
"""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from typing_extensions import override


class WeightEMA(WeightAveraging):
    """Average a of the weights w after every step: a = d a + (1 - d) w.

    d is the smaller one of ``decay`` and (1 + n) / (10 + n), where n counts the steps before, so
    that a short fit does not stay near its first weights. The checkpoints hold the average, and
    beside it the weights that a continued fit goes on with.

    Args:
        decay: Largest share of the average that a step keeps.

    Raises:
        ValueError: The decay is not between 0 and 1.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}: expected 0 or more and less than 1")
        self.decay = decay
        super().__init__(use_buffers=True, avg_fn=self.average)

    def average(self, averaged: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
        """Return the next average of a parameter or buffer, in its shape.

        Args:
            averaged: Average after the step before.
            current: Value after the step.
            num_averaged: Steps before (n).
        """
        if not averaged.is_floating_point():
            return current
        steps = float(num_averaged)
        decay = min(self.decay, (1 + steps) / (10 + steps))
        return averaged.lerp(current, 1 - decay)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the average in the module, whose own hook sets the temperature of its head next."""

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the trained weights back, before the checkpoint is written."""
        if self._average_model is not None:
            self._swap_models(pl_module)

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return the state of the callback with its decay."""
        return {**super().state_dict(), "decay": self.decay}
