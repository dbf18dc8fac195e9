"""Sweeps, studies and benchmarks."""

__all__ = [
    "benchmark",
    "benchmark_process",
    "benchmark_table",
    "flops",
    "gpu_measures",
    "gpu_report",
    "job_runner",
    "picture_exchange",
    "processes",
    "scripts",
    "stopwatch",
    "studies",
    "sweep",
    "sweep_display",
    "sweep_progress",
    "sweep_runner",
    "tuning",
    "variations",
]
