"""Losses of training that regularise any method: R-Drop, adversarial embeddings, dropout samples.

They need further passes of the same batch. All are off by default.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmie.blocks.heads import Head
from mmie.types import Batch, Encoding

TINY = 1e-12
"""Smallest norm of a gradient that is divided by."""


@dataclass(frozen=True, slots=True)
class Regularisation:
    """Weights of the losses.

    Attributes:
        r_drop: Weight alpha of R-Drop. The loss is half of the paper's: the mean of two passes with
            their own dropout, plus alpha / 4 times their symmetric divergence (Liang et al.,
            NeurIPS 2021, Equations 2-4). 0 for one pass.
        adversarial: Norm epsilon of the change of each post's word embeddings that raises the loss
            most to first order. The loss of the changed embeddings is added (Miyato et al., ICLR
            2017, Equations 3-6, without their normalisation of embeddings). 0 for none.
        dropout_samples: Dropout masks of the head over which the task's loss is averaged (Inoue,
            arXiv:1905.09788).
    """

    r_drop: float = 0.0
    adversarial: float = 0.0
    dropout_samples: int = 1

    def __post_init__(self) -> None:
        if min(self.r_drop, self.adversarial) < 0 or self.dropout_samples < 1:
            raise ValueError(
                "r_drop and adversarial must be 0 or more and dropout_samples 1 or more, they are "
                f"{self.r_drop}, {self.adversarial} and {self.dropout_samples}"
            )

    def losses(
        self,
        encode: Callable[[Batch], Encoding],
        head: Head,
        embedding: nn.Module,
        batch: Batch,
    ) -> dict[str, Tensor]:
        """Compute all losses of a batch by name, ``task`` first.

        Args:
            encode: Encoder of the method.
            head: Its head.
            embedding: Its word embeddings.
            batch: The posts.
        """
        if self.adversarial:
            with recorded_outputs(embedding) as embedded:
                states, losses = self._pass(encode, head, batch)
        else:
            states, losses = self._pass(encode, head, batch)
        first_loss = torch.stack(list(losses.values())).sum()
        if self.r_drop:
            other_states, other_losses = self._pass(encode, head, batch)
            losses = {name: (losses[name] + other_losses[name]) / 2 for name in losses}
            divergence = head.divergence(states, other_states, batch).mean()
            losses["r_drop"] = self.r_drop / 4 * divergence
        if self.adversarial:
            changes = adversarial_changes(first_loss, embedded, self.adversarial)
            with changed_outputs(embedding, changes):
                _, changed_losses = self._pass(encode, head, batch)
            losses["adversarial"] = torch.stack(list(changed_losses.values())).sum()
        return losses

    def _pass(
        self, encode: Callable[[Batch], Encoding], head: Head, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the states (batch, tokens, hidden) of one pass, and its losses by name."""
        encoding = encode(batch)
        samples = [head.loss(encoding.states, batch).mean() for _ in range(self.dropout_samples)]
        task_loss = samples[0] if len(samples) == 1 else torch.stack(samples).mean()
        return encoding.states, {"task": task_loss, **encoding.losses}


def adversarial_changes(loss: Tensor, embedded: Sequence[Tensor], epsilon: float) -> list[Tensor]:
    """Compute the changes epsilon g / ||g|| of embeddings, where g is the gradient of the loss.

    Args:
        loss: The loss, whose graph is kept.
        embedded: (batch, tokens, hidden) each.
        epsilon: Euclidean norm of the change of a row.

    Returns:
        (batch, tokens, hidden) each, without gradient.
    """
    gradients = torch.autograd.grad(loss, embedded, retain_graph=True)
    changes = []
    for gradient in gradients:
        norms = gradient.flatten(1).norm(dim=1).clamp(min=TINY)  # (batch,)
        changes.append(epsilon * gradient / norms[:, None, None])
    return changes


@contextmanager
def recorded_outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """Record the outputs of a module's calls, in their order."""
    outputs: list[Tensor] = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output)

    hook = module.register_forward_hook(record)
    try:
        yield outputs
    finally:
        hook.remove()


@contextmanager
def changed_outputs(module: nn.Module, changes: Sequence[Tensor]) -> Iterator[None]:
    """Add a change to the output of each call of a module, in their order."""
    remaining = iter(changes)

    def change(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + next(remaining)

    hook = module.register_forward_hook(change)
    try:
        yield
    finally:
        hook.remove()
