"""Callback that measures the time of training steps and of their parts, and counts operations."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmie.blocks.vision import VisualBackbone
from mmie.experiments.flops import count_flops
from mmie.methods import ExtractionModule
from mmie.types import Batch

PARTS = ("data", "vision", "text", "fusion", "head", "backward", "optimiser", "rest")
"""Parts of a step, in order: waiting for data, the visual backbone, the text encoder, the method's
own layers, the head and the loss, the backward pass, the optimiser, and all other time."""


class Stopwatch(Callback):
    """Clock for the steps of a fit.

    A fit has four phases:

    1. ``num_warmup`` steps that do not count.
    2. ``num_steps`` steps that are timed as a whole. The device is waited for only before the first
       and after the last, since waiting at every step would slow the steps down.
    3. ``num_steps`` steps that are timed by `PARTS`. The device is waited for at every boundary.
    4. All further steps, whose floating-point operations are counted by `PARTS`, which slows them
       down.

    Args:
        module: The method that is fitted.
        num_steps: Number of steps that are timed as a whole.
        num_warmup: Number of steps before them.

    Attributes:
        steps: Seconds of each step of the second phase, the wait for its data included.
        parts: Seconds of each part of each step of the third phase.
        flops: Floating-point operations of each part of each step of the fourth phase.
        first_step: Time at which the first step began.
        tokens: Tokens of all batches, padding included.
        real_tokens: Tokens of all batches without padding.
    """

    def __init__(self, module: ExtractionModule, num_steps: int, num_warmup: int) -> None:
        self.module = module
        self.steps: list[float] = []
        self.parts: list[dict[str, float]] = []
        self.flops: list[dict[str, float]] = []
        self.first_step = 0.0
        self.tokens = 0
        self.real_tokens = 0
        self._first_whole_step = num_warmup
        self._first_split_step = num_warmup + num_steps
        self._first_counted_step = num_warmup + 2 * num_steps
        self._divides = False
        self._counter: FlopCounterMode | None = None
        self._step_end = 0.0
        # Seconds, or operations, of each part of the step.
        self._amounts = dict.fromkeys(PARTS, 0.0)
        # Open parts, the innermost last.
        self._running: list[str] = []
        self._counted_until = 0.0

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Register hooks that measure the module's parts, and remove them at the end."""
        hooks = []
        for part, name in _part_names(self.module).items():
            hooks.append(part.register_forward_pre_hook(lambda *_, name=name: self._enter(name)))
            hooks.append(part.register_forward_hook(lambda *_: self._leave()))
        head = getattr(self.module, "head", None)
        if head is not None:
            head.loss = self._timed("head", head.loss)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            if head is not None:
                del head.loss

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Count tokens and end the wait for data."""
        self._divides = trainer.global_step >= self._first_split_step
        self.first_step = self.first_step or time.perf_counter()
        self.tokens += batch.attention_mask.numel()
        self.real_tokens += int(batch.attention_mask.sum())
        if not self._divides:
            return
        self._amounts = dict.fromkeys(PARTS, 0.0)
        self._running = ["fusion"]
        if trainer.global_step >= self._first_counted_step:
            self._counter = count_flops().__enter__()
            self._counted_until = 0.0
        else:
            self._counted_until = self._synchronised_time()
            self._amounts["data"] = self._counted_until - self._step_end

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """End the forward pass."""
        self._switch("backward")

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the backward pass."""
        self._switch("optimiser")

    def on_before_zero_grad(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """Count the removal of the previous step's gradients as a part of the optimiser."""
        self._switch("optimiser")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Record how long the step took, as a whole or by parts, or its operations."""
        if self._divides:
            self._switch("rest")  # ends the last part
            (self.parts if self._counter is None else self.flops).append(self._amounts)
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._counter = None
        step = trainer.global_step - 1  # the step that has just ended
        last_warmup_step = self._first_whole_step - 1
        last_whole_step = self._first_split_step - 1
        if self._divides or step in (last_warmup_step, last_whole_step):
            now = self._synchronised_time()
        else:
            now = time.perf_counter()
        if self._first_whole_step <= step <= last_whole_step:
            self.steps.append(now - self._step_end)
        self._step_end = now

    def _timed(self, name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Wrap a function so that its time and its operations count for a part."""

        def call(*arguments: Any) -> Tensor:
            self._enter(name)
            result = function(*arguments)
            self._leave()
            return result

        return call

    def _enter(self, name: str) -> None:
        """Begin a part, which may lie within another one or within itself."""
        if self._divides:
            self._count()
            self._running.append(name)

    def _leave(self) -> None:
        """End the part that began last."""
        if self._divides:
            self._count()
            self._running.pop()

    def _switch(self, name: str) -> None:
        """End all parts and begin another one."""
        if self._divides:
            self._count()
            self._running = [name]

    def _count(self) -> None:
        """Add the time, or the operations, since the last call to the innermost open part."""
        if self._counter is None:
            now = self._synchronised_time()
        else:
            now = float(self._counter.get_total_flops())
        if self._running:
            self._amounts[self._running[-1]] += now - self._counted_until
        self._counted_until = now

    def _synchronised_time(self) -> float:
        """Return the time at which the device has finished all work that was submitted."""
        if self.module.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def _part_names(module: ExtractionModule) -> dict[nn.Module, str]:
    """Map the modules of the text encoder and of visual backbones to their part.

    What all other modules take counts as ``fusion``.
    """
    names: dict[nn.Module, str] = dict.fromkeys(module.text.modules(), "text")
    for part in module.modules():
        if isinstance(part, VisualBackbone):
            names.update(dict.fromkeys(part.modules(), "vision"))
    return names
