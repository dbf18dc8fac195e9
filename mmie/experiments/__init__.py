"""Sweeps, studies and benchmarks."""

__all__ = [
    "benchmark",
    "benchmark_process",
    "benchmark_table",
    "job_runner",
    "scripts",
    "stopwatch",
    "studies",
    "sweep",
    "sweep_runner",
    "variations",
]
