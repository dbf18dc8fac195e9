"""Benchmarks are columns, and several are compared with the first."""

from dataclasses import replace

from helpers.benchmarks import RESULT
from rich.console import Console

from mmie.experiments.benchmark_table import render_benchmarks


def render(results):
    """The cells of each row of the table by the row's name."""
    console = Console(width=120)
    with console.capture() as captured:
        console.print(render_benchmarks(results))
    rows = {}
    for line in captured.get().splitlines():
        name, *cells = (cell.strip() for cell in line.strip("│").split("│"))
        rows[name] = cells
    return rows


def test_only_several_runs_have_a_speed():
    single, double = render_benchmarks([RESULT]), render_benchmarks([RESULT, RESULT])
    assert single.row_count == double.row_count - 1


def test_times_memory_and_shares_are_formatted():
    gpu = replace(RESULT, name="b", epoch_seconds=1.2, peak_gpu_memory_gib=2.0)
    rows = render([RESULT, gpu])
    assert rows["step"] == ["200.0 ms", "200.0 ms"]
    assert rows["training epoch"] == ["2.4 s", "1.2 s"]
    assert rows["peak GPU memory"] == ["", "2.00 GiB"]
    assert rows["vision"] == ["1000.0 ms (12 %)"] * 2
    assert rows["text"] == ["1000.0 ms (12 %), 8 GFLOP/s"] * 2
    assert rows["GFLOP/s"] == ["40.0"] * 2
    assert rows["share of a matrix product's"] == ["25 %"] * 2
    assert rows["speed against the first"] == ["1.00x", "2.00x"]
