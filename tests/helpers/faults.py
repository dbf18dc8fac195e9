"""Faults that need no rights: a disk that is full for a while, and what a killed process leaves."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmie.utils.partial_files import partial_path


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let this process write no file beyond a number of bytes: writing raises ``OSError``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_abandoned(file: Path) -> Path:
    """Write a half-written file as a process that has ended left it, and return its path."""
    process = subprocess.run(
        [sys.executable, "-S", "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
    )
    name = partial_path(file).name
    abandoned = file.with_name(name.replace(f"-{os.getpid()}.", f"-{process.stdout.strip()}."))
    abandoned.parent.mkdir(parents=True, exist_ok=True)
    abandoned.write_text("half")
    return abandoned
