"""Where a training step spends its time, and how much memory it takes: what the published figures come from.

The steps are those of a fit, driven by the same trainer. First some are run and not counted, then some are clocked as
they come, then some are taken apart, for which a GPU is waited for at every seam.
"""

import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.table import Table
from torch import nn

from mmie.blocks.vision import VisualBackbone
from mmie.data import MultimodalDataModule
from mmie.methods import ExtractionModule
from mmie.types import Batch, MmieError

PARTS = ("data", "vision", "text", "fusion", "head", "backward", "optimiser", "rest")
"""Parts of a step: waiting for data, the visual backbone, the text encoder, the method's own layers, and so on."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What was measured.

    Attributes:
        name: What was run.
        method: Class name of the method.
        device: Where.
        precision: Lightning's name of it.
        threads: Threads that torch computes with.
        batch_size: Posts in a step, on all processes together.
        steps: Steps that were clocked.
        step_seconds: Median of a step, waiting for data included.
        samples_per_second: Posts by that step.
        epoch_seconds: Training steps of an epoch by that step, without validation.
        preparation_seconds: Before the first step: reading, tokenising, and what the store lacked.
        peak_memory_gib: Most resident memory of the process.
        peak_gpu_memory_gib: Most memory on the device; None without one.
        tokens_per_real_token: Tokens computed by real tokens; the excess is padding.
        parts: Median seconds of the parts of a step.
    """

    name: str
    method: str
    device: str
    precision: str
    threads: int
    batch_size: int
    steps: int
    step_seconds: float
    samples_per_second: float
    epoch_seconds: float
    preparation_seconds: float
    peak_memory_gib: float
    peak_gpu_memory_gib: float | None
    tokens_per_real_token: float
    parts: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """All of it in one line."""
        return json.dumps(asdict(self))


def run_benchmark(
    name: str,
    trainer: Trainer,
    module: ExtractionModule,
    data: MultimodalDataModule,
    steps: int = 20,
    warmup: int = 3,
) -> Benchmark:
    """Train for a few steps and measure them.

    Args:
        name: What to call it.
        trainer: Where and in what precision; its settings must be `trainer_settings`.
        module: The method.
        data: Its data.
        steps: Steps that are clocked, and then once more as many that are taken apart.
        warmup: Steps before that.
    """
    start = time.perf_counter()
    stopwatch = _Stopwatch(module, steps, warmup)
    trainer.callbacks.append(stopwatch)  # type: ignore[attr-defined]
    with stopwatch.watching():
        trainer.fit(module, data)
    step = statistics.median(stopwatch.steps)
    per_step = data.batch_size * trainer.world_size
    on_gpu = module.device.type == "cuda"
    return Benchmark(
        name=name,
        method=type(module).__name__,
        device=torch.cuda.get_device_name(module.device) if on_gpu else module.device.type,
        precision=str(trainer.precision),
        threads=torch.get_num_threads(),
        batch_size=per_step,
        steps=steps,
        step_seconds=step,
        samples_per_second=per_step / step,
        epoch_seconds=step * math.ceil(len(data.instances["train"]) / per_step),
        preparation_seconds=stopwatch.first_step - start,
        peak_memory_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        peak_gpu_memory_gib=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
        tokens_per_real_token=stopwatch.tokens / max(1, stopwatch.real_tokens),
        parts={name: statistics.median(part[name] for part in stopwatch.parts) for name in PARTS},
    )


def trainer_settings(steps: int, warmup: int) -> dict[str, int]:
    """What a trainer must be told: as many steps as are wanted, over as many epochs as that takes, no validation.

    Raises:
        ValueError: A number of steps is less than 1.
    """
    if steps < 1 or warmup < 1:
        raise ValueError(f"steps is {steps}, warmup {warmup}: expected at least 1")
    return {"max_steps": warmup + 2 * steps, "max_epochs": -1, "limit_val_batches": 0}


def run_apart(arguments: Sequence[str]) -> Benchmark:
    """``mmie benchmark`` in a process of its own.

    Raises:
        BenchmarkError: It failed.
    """
    command = [sys.executable, "-m", "mmie.cli", "benchmark", "--json", *arguments]
    outcome = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if outcome.returncode:
        raise BenchmarkError(
            f"the benchmark of {config_name(arguments)} failed with status {outcome.returncode}"
        )
    return Benchmark(**json.loads(outcome.stdout.splitlines()[-1]))


def config_name(arguments: Sequence[str]) -> str:
    """The name of the first configuration on a command line."""
    return next((Path(file).stem for _, file in _configs(arguments)), "run")


def replace_config(arguments: Sequence[str], config: str) -> list[str]:
    """The command line with another first configuration; what is laid over it stays."""
    place = next((place for place, _ in _configs(arguments)), None)
    if place is None:
        return [f"--config={config}", *arguments]
    inline = arguments[place].startswith("--config=")
    return [*arguments[:place], f"--config={config}", *arguments[place + (1 if inline else 2) :]]


def _configs(arguments: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Places and files of ``--config``."""
    for place, (argument, following) in enumerate(pairwise([*arguments, ""])):
        if argument == "--config" and following:
            yield place, following
        elif argument.startswith("--config="):
            yield place, argument.removeprefix("--config=")


def render_benchmarks(results: list[Benchmark]) -> Table:
    """A column a run; with two or more, how many times faster each is than the first."""
    first = results[0]
    table = Table("", *(result.name for result in results), title="Training step")
    for row, text in _ROWS.items():
        table.add_row(row, *(text(result) for result in results))
    for part in PARTS:
        table.add_row(f"  {part}", *(_share(result.parts, part) for result in results))
    if len(results) > 1:
        ratios = (f"{first.epoch_seconds / result.epoch_seconds:.2f}x" for result in results)
        table.add_row("speed against the first", *ratios, style="bold")
    return table


def _share(parts: dict[str, float], name: str) -> str:
    """Milliseconds of a part, and its share of the step."""
    return f"{1e3 * parts[name]:.1f} ms ({100 * parts[name] / sum(parts.values()):.0f} %)"


_ROWS: dict[str, Callable[[Benchmark], str]] = {
    "method": lambda result: result.method,
    "device, precision": lambda result: f"{result.device}, {result.precision}",
    "threads": lambda result: str(result.threads),
    "batch size": lambda result: str(result.batch_size),
    "step": lambda result: f"{1e3 * result.step_seconds:.1f} ms",
    "samples/s": lambda result: f"{result.samples_per_second:.1f}",
    "training epoch": lambda result: f"{result.epoch_seconds:.1f} s",
    "preparation": lambda result: f"{result.preparation_seconds:.1f} s",
    "peak memory": lambda result: f"{result.peak_memory_gib:.2f} GiB",
    "peak GPU memory": lambda r: (
        "" if r.peak_gpu_memory_gib is None else f"{r.peak_gpu_memory_gib:.2f} GiB"
    ),
    "tokens per real token": lambda result: f"{result.tokens_per_real_token:.3f}",
}


def _owners(module: ExtractionModule) -> dict[nn.Module, str]:
    """The part that each module's time belongs to; what is not named here is the method's own."""
    owners = dict.fromkeys(module.text.modules(), "text")
    backbones = (part for part in module.modules() if isinstance(part, VisualBackbone))
    return owners | {part: "vision" for backbone in backbones for part in backbone.modules()}


class BenchmarkError(MmieError, RuntimeError):
    """A benchmark in a process of its own that failed."""


class _Stopwatch(Callback):
    """Clocks steps, then takes steps apart."""

    def __init__(self, module: ExtractionModule, steps: int, warmup: int) -> None:
        self.module, self.first, self.last = module, warmup, warmup + steps
        self.steps: list[float] = []
        self.parts: list[dict[str, float]] = []
        self.first_step = 0.0
        self.tokens = self.real_tokens = 0
        self._step_end = self._mark = 0.0
        self._clocks = dict.fromkeys(PARTS, 0.0)
        self._running: list[str] = []
        self._apart = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Feel when the module's parts are entered and left."""
        module = self.module
        hooks = []
        for part, name in _owners(module).items():
            hooks.append(part.register_forward_pre_hook(lambda *_, name=name: self._enter(name)))
            hooks.append(part.register_forward_hook(lambda *_: self._leave()))
        head_loss = getattr(module, "head", None) and module.head.loss
        if head_loss:
            module.head.loss = self._timed("head", head_loss)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            if head_loss:
                del module.head.loss

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """The data is here."""
        self._apart = trainer.global_step >= self.last
        self.first_step = self.first_step or time.perf_counter()
        self.tokens += batch.attention_mask.numel()
        self.real_tokens += int(batch.attention_mask.sum())
        if self._apart:
            now = self._now()
            self._clocks = {**dict.fromkeys(PARTS, 0.0), "data": now - self._step_end}
            self._mark, self._running = now, ["fusion"]

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor
    ) -> None:
        """The forward pass is over."""
        self._switch("backward")

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The backward pass is over."""
        self._switch("optimiser")

    def on_before_zero_grad(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """The step before left its gradients until now."""
        self._switch("optimiser")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """The step is over."""
        if self._apart:
            self._switch("rest")
            self.parts.append(self._clocks)
        step = trainer.global_step - 1
        now = (
            self._now()
            if step in (self.first - 1, self.last - 1) or self._apart
            else time.perf_counter()
        )
        if self.first <= step < self.last:
            self.steps.append(now - self._step_end)
        self._step_end = now

    def _timed(
        self, name: str, function: Callable[..., torch.Tensor]
    ) -> Callable[..., torch.Tensor]:
        """A function whose time goes to a part."""

        def call(*arguments: Any) -> torch.Tensor:
            self._enter(name)
            result = function(*arguments)
            self._leave()
            return result

        return call

    def _enter(self, name: str) -> None:
        """A part begins, perhaps within itself."""
        if self._apart:
            self._count()
            self._running.append(name)

    def _leave(self) -> None:
        """The part that began last is over."""
        if self._apart:
            self._count()
            self._running.pop()

    def _switch(self, name: str) -> None:
        """From here on time goes to a part."""
        if self._apart:
            self._count()
            self._running = [name]

    def _count(self) -> None:
        """Give the time since the last look to the part that runs."""
        now = self._now()
        if self._running:
            self._clocks[self._running[-1]] += now - self._mark
        self._mark = now

    def _now(self) -> float:
        """The time at which the device has done all that it was told."""
        if self.module.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()
