"""The callback that stops a fit whose numbers are no longer finite."""

from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from mmie.types import Batch, MmieError
from mmie.utils.wording import format_epoch

_INTERVAL = 50
"""Steps between two looks at the numbers of a GPU, each of which waits for it."""


class NotFinite(MmieError, ArithmeticError):
    """A loss or gradient that is NaN or infinite."""


class StopAtNotFinite(Callback):
    """Stops a fit at the first loss or gradient norm that is not finite.

    On a GPU the numbers are looked at every 50 steps, and before an epoch's checkpoints. The
    message names the first step with such a number all the same. With precision ``16-mixed``,
    gradients are left out: its scaler skips the steps in which they overflow.
    """

    def __init__(self) -> None:
        self._first: dict[str, Tensor] = {}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the epoch before."""
        unseen = torch.tensor(torch.inf, device=pl_module.device)
        self._first = {"loss": unseen, "gradient norm": unseen}

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Compute the norm of the gradients."""
        if trainer.precision != "16-mixed":
            gradients = [weight.grad for weight in pl_module.parameters()]
            self._note("gradient norm", gradient_norm(gradients), trainer.fit_loop.batch_idx)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note the loss, and look at what was noted.

        Raises:
            NotFinite: A number is not finite.
        """
        self._note("loss", outputs["loss"], batch_idx)
        if pl_module.device.type == "cpu" or (batch_idx + 1) % _INTERVAL == 0:
            self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the last numbers of the epoch.

        Raises:
            NotFinite: A number is not finite.
        """
        self._look(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the numbers before a validation, whose scores decide on a checkpoint.

        Raises:
            NotFinite: A number is not finite.
        """
        self._look(trainer)

    def _note(self, name: str, value: Tensor, step: int) -> None:
        """Note the first step in which a number is not finite, without waiting for the device."""
        seen = torch.where(value.detach().isfinite(), torch.inf, float(step))
        self._first[name] = torch.minimum(self._first[name], seen)

    def _look(self, trainer: Trainer) -> None:
        """Raise if a number was not finite.

        Raises:
            NotFinite: A number was not finite.
        """
        for name, first in self._first.items():
            step = float(first)
            if step < torch.inf:
                epoch = format_epoch(trainer.current_epoch, trainer.max_epochs)
                raise NotFinite(
                    f"the {name} is no finite number in {epoch}, step {int(step) + 1}: lower the "
                    "learning rates (model.init_args.text_lr, fusion_lr, head_lr), give "
                    "trainer.gradient_clip_val, or take precision 32-true. Checkpoints of earlier "
                    "epochs stay"
                )


def gradient_norm(gradients: Iterable[Tensor | None]) -> Tensor:
    """Compute the Euclidean norm of all gradients together, sparse ones included.

    Returns:
        A scalar. It is 0 without gradients.
    """
    values = []
    for gradient in gradients:
        if gradient is not None:
            values.append(gradient._values() if gradient.is_sparse else gradient)
    if not values:
        return torch.zeros(())
    norms = torch.stack(torch._foreach_norm(values))
    total: Tensor = torch.linalg.vector_norm(norms.float())
    return total
