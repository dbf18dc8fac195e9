"""Benchmarks in processes of their own, and the configurations on their command lines."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from mmie.experiments.benchmark import Benchmark
from mmie.runs.folder import CONFIG
from mmie.types import MmieError


class BenchmarkError(MmieError, RuntimeError):
    """A benchmark that failed in its process."""


def run_in_process(arguments: Sequence[str]) -> Benchmark:
    """Run ``mmie benchmark`` in a new process, so that its peak memory is its own.

    Raises:
        BenchmarkError: The process failed.
    """
    command = [sys.executable, "-m", "mmie.cli", "benchmark", "--json", *arguments]
    completed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if completed.returncode:
        raise BenchmarkError(
            f"the benchmark of {config_name(arguments)} failed with status {completed.returncode}"
        )
    return Benchmark(**json.loads(completed.stdout.splitlines()[-1]))


def config_name(arguments: Sequence[str]) -> str:
    """Return the name of the first configuration on a command line, or ``run``.

    The configuration of a run folder has the name of the folder.
    """
    for _, file in _configs(arguments):
        path = Path(file)
        return path.resolve().parent.name if path.name == CONFIG else path.stem
    return "run"


def replace_config(arguments: Sequence[str], config: str) -> list[str]:
    """Replace the first configuration on a command line, and keep those that override it."""
    option = f"--config={config}"
    for index, _ in _configs(arguments):
        num_arguments = 1 if arguments[index].startswith("--config=") else 2
        return [*arguments[:index], option, *arguments[index + num_arguments :]]
    return [option, *arguments]


def _configs(arguments: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield index and file of each ``--config`` option."""
    for index, (argument, following) in enumerate(pairwise([*arguments, ""])):
        if argument == "--config" and following:
            yield index, following
        elif argument.startswith("--config="):
            yield index, argument.removeprefix("--config=")
