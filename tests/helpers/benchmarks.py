"""A tiny configuration and a result for tests of benchmarks."""

from pathlib import Path

from helpers.command import tiny_options
from mmie.experiments.benchmark import Benchmark
from mmie.experiments.stopwatch import PARTS

RESULT = Benchmark(
    name="a",
    method="HVPNet",
    device="cpu",
    precision="32-true",
    threads=1,
    batch_size=4,
    steps=5,
    step_seconds=0.2,
    samples_per_second=20,
    epoch_seconds=2.4,
    preparation_seconds=1,
    peak_memory_gib=0.5,
    peak_gpu_memory_gib=None,
    tokens_per_real_token=1.1,
    parts=dict.fromkeys(PARTS, 1.0),
    gflop=8.0,
    gflop_per_second=40.0,
    matmul_gflop_per_second=160.0,
    gflop_parts={**dict.fromkeys(PARTS, 0.0), "text": 8.0},
)


def benchmark_options(method: str, corpus: Path, folder: Path) -> list[str]:
    """Options of a tiny configuration without its number of epochs, and with its own cache."""
    options = [
        option
        for option in tiny_options(method, corpus, folder / "run")
        if "max_epochs" not in option
    ]
    return [*options, f"--feature_store={folder / 'store'}"]
