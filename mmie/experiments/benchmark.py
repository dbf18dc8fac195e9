"""Measurement of training steps: their time, its parts, their operations, and memory.

The steps are those of a fit, driven by the same trainer: first a warm-up that does not count, then
steps that are measured as a whole, then steps that are divided into parts, then steps whose
floating-point operations are counted.
"""

import json
import math
import resource
import statistics
import time
from dataclasses import asdict, dataclass, field

import torch
from lightning.pytorch import Trainer

from mmie.data import MultimodalDataModule
from mmie.experiments.flops import GIGA, measure_matmul_rate
from mmie.experiments.stopwatch import PARTS, Stopwatch
from mmie.methods import ExtractionModule


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Measurements of one run.

    Attributes:
        name: Name of the run.
        method: Class name of the method.
        device: Name of the device.
        precision: Lightning's name of the precision.
        threads: Threads that torch computes with.
        batch_size: Posts in a step, over all processes.
        steps: Number of steps that were measured as a whole.
        step_seconds: Median time of a step, waiting for data included.
        samples_per_second: Posts per second at that time.
        epoch_seconds: Time of the training steps of an epoch at that time, without validation.
        preparation_seconds: Time before the first step: reading, tokenising, and computing features
            that the cache lacked.
        peak_memory_gib: Largest resident memory of the process.
        peak_gpu_memory_gib: Largest memory on the GPU; None without a GPU.
        tokens_per_real_token: Computed tokens by real tokens; the excess is padding.
        parts: Median seconds of the parts of a step.
        gflop: Median GFLOP of the matrix products of a step, of this process: see
            `mmie.experiments.flops`.
        gflop_per_second: These operations by ``step_seconds``.
        matmul_gflop_per_second: The same for the product of two large matrices in the same
            precision with the same threads.
        gflop_parts: Median GFLOP of the parts of a step.
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
    gflop: float = 0.0
    gflop_per_second: float = 0.0
    matmul_gflop_per_second: float = 0.0
    gflop_parts: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return all fields as one line of JSON."""
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
        name: Name of the run.
        trainer: The trainer, with the settings of `trainer_settings`.
        module: The method.
        data: Its data.
        steps: Number of steps that are measured as a whole, and then of steps that are divided.
        warmup: Number of steps before them, and of steps after them whose operations are counted.
    """
    start = time.perf_counter()
    stopwatch = Stopwatch(module, steps, warmup)
    trainer.callbacks.append(stopwatch)  # type: ignore[attr-defined]
    with stopwatch.hooked():
        trainer.fit(module, data)
    step_seconds = statistics.median(stopwatch.steps)
    gflop = statistics.median(sum(flops.values()) for flops in stopwatch.flops) / GIGA
    matmul_rate = measure_matmul_rate(module.device, str(trainer.precision)) / GIGA
    batch_size = data.batch_size * trainer.world_size
    device, peak_gpu_memory = module.device.type, None
    if device == "cuda":
        device = torch.cuda.get_device_name(module.device)
        peak_gpu_memory = torch.cuda.max_memory_allocated() / 2**30
    return Benchmark(
        name=name,
        method=type(module).__name__,
        device=device,
        precision=str(trainer.precision),
        threads=torch.get_num_threads(),
        batch_size=batch_size,
        steps=steps,
        step_seconds=step_seconds,
        samples_per_second=batch_size / step_seconds,
        epoch_seconds=step_seconds * math.ceil(len(data.instances["train"]) / batch_size),
        preparation_seconds=stopwatch.first_step - start,
        peak_memory_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        peak_gpu_memory_gib=peak_gpu_memory,
        tokens_per_real_token=stopwatch.tokens / max(1, stopwatch.real_tokens),
        parts=_median_parts(stopwatch.parts),
        gflop=gflop,
        gflop_per_second=gflop / step_seconds,
        matmul_gflop_per_second=matmul_rate,
        gflop_parts=_median_parts(stopwatch.flops, GIGA),
    )


def trainer_settings(steps: int, warmup: int) -> dict[str, int]:
    """Return the trainer's settings for a benchmark.

    The number of steps is fixed, they take as many epochs as needed, and nothing is validated.

    Raises:
        ValueError: A number of steps is less than 1.
    """
    if steps < 1 or warmup < 1:
        raise ValueError(f"steps is {steps}, warmup {warmup}: expected at least 1")
    return {"max_steps": 2 * warmup + 2 * steps, "max_epochs": -1, "limit_val_batches": 0}


def _median_parts(steps: list[dict[str, float]], unit: float = 1.0) -> dict[str, float]:
    """Return the median of each part over steps, in a unit."""
    medians = {}
    for part in PARTS:
        medians[part] = statistics.median(amounts[part] for amounts in steps) / unit
    return medians
