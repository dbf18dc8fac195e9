"""Table of benchmarks."""

from collections.abc import Sequence

from rich.table import Table

from mmie.experiments.benchmark import Benchmark
from mmie.experiments.stopwatch import PARTS


def render_benchmarks(results: Sequence[Benchmark]) -> Table:
    """Render benchmarks as columns, with the speed relative to the first in the last row."""
    table = Table("", *(result.name for result in results), title="Training step")
    columns = [_cells(result) for result in results]
    for row in columns[0]:
        table.add_row(row, *(column[row] for column in columns))
    if len(results) > 1:
        baseline = results[0].epoch_seconds
        speeds = [f"{baseline / result.epoch_seconds:.2f}x" for result in results]
        table.add_row("speed against the first", *speeds, style="bold")
    return table


def _cells(result: Benchmark) -> dict[str, str]:
    """Map the names of rows to the formatted values of a benchmark."""
    gpu_memory = result.peak_gpu_memory_gib
    share = result.gflop_per_second / result.matmul_gflop_per_second
    cells = {
        "method": result.method,
        "device, precision": f"{result.device}, {result.precision}",
        "threads": str(result.threads),
        "batch size": str(result.batch_size),
        "step": f"{1e3 * result.step_seconds:.1f} ms",
        "samples/s": f"{result.samples_per_second:.1f}",
        "training epoch": f"{result.epoch_seconds:.1f} s",
        "preparation": f"{result.preparation_seconds:.1f} s",
        "peak memory": f"{result.peak_memory_gib:.2f} GiB",
        "peak GPU memory": "" if gpu_memory is None else f"{gpu_memory:.2f} GiB",
        "tokens per real token": f"{result.tokens_per_real_token:.3f}",
        "GFLOP of a step": f"{result.gflop:.1f}",
        "GFLOP/s": f"{result.gflop_per_second:.1f}",
        "share of a matrix product's": f"{100 * share:.0f} %",
    }
    total = sum(result.parts.values())
    for part in PARTS:
        seconds = result.parts[part]
        cell = f"{1e3 * seconds:.1f} ms ({100 * seconds / total:.0f} %)"
        if result.gflop_parts[part]:
            cell += f", {result.gflop_parts[part] / seconds:.0f} GFLOP/s"
        cells[f"  {part}"] = cell
    return cells
