"""Display of a running sweep: a live table on a terminal, lines in a file or pipe."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from mmie.experiments.job_runner import RunOutcome, name_step
from mmie.experiments.sweep import SweepJob
from mmie.experiments.sweep_progress import RunningJob, SweepProgress, read_course
from mmie.experiments.sweep_runner import describe_outcome
from mmie.utils.signals import termination_interrupts
from mmie.utils.terminal import PlainConsole
from mmie.utils.wording import format_duration, format_epoch, format_score

_REFRESHES = 1.0
"""Refreshes of the live table in a second. Each one reads the records of the running fits."""


class SweepDisplay:
    """Display of a sweep, which `mmie.experiments.sweep_runner.run_sweep` tells what happens.

    A line is printed for every run that ends. Where no live table shows what runs, a line is
    printed for every run that starts as well.

    Args:
        progress: Course of the sweep.
        console: Where to print.

    Attributes:
        live: Live table that shows what runs; None if there is none.
    """

    def __init__(self, progress: SweepProgress, console: PlainConsole) -> None:
        self.progress = progress
        self.console = console
        self.live: Live | None = None
        parents = [os.path.abspath(job.folder.parent) for job in progress.jobs]
        self._parent = os.path.commonpath(parents) if parents else ""
        self._lock = threading.Lock()

    def begin_step(self, job: SweepJob, step: str) -> None:
        """Note that a step begins. Threads may call this."""
        is_first = self.progress.begin_step(job, step)
        if self.live is not None:
            self.live.refresh()
        elif is_first:
            number = self.progress.jobs.index(job) + 1
            self._print(f"{job.folder}: run {number} of {len(self.progress.jobs)} starts")

    def end_job(self, outcome: RunOutcome) -> None:
        """Print the outcome of a job, and in a file or pipe the state of the sweep with it."""
        self.progress.end_job(outcome)
        line = describe_outcome(outcome)
        if self.live is None and len(self.progress.jobs) > 1:
            line += f" ({self.progress.describe()})"
        self._print(line)
        if self.live is not None:
            self.live.refresh()

    def render(self) -> RenderableType:
        """Render the running jobs as a table, with the state of the sweep below."""
        table = Table(title="running", title_justify="left")
        table.add_column("run", overflow="fold", ratio=1)
        table.add_column("step")
        for name in ("epoch", "val. F1", "best", "time"):
            table.add_column(name, justify="right", no_wrap=True)
        running = self.progress.running
        for run in running:
            table.add_row(*self._cells(run))
        state = self.progress.describe()
        return Group(table, state) if running else state

    def _cells(self, run: RunningJob) -> list[str]:
        """Return the cells of a running job."""
        course = read_course(run.job.folder)
        epoch = ""
        if run.step == "fit":
            total = course.max_epochs
            is_over = total is not None and course.epochs >= total
            current = course.epochs - 1 if is_over else course.epochs
            epoch = format_epoch(current, total).removeprefix("epoch ")
        scores = []
        for score in (course.last, course.best):
            scores.append("" if score is None else format_score(score))
        folder = os.path.relpath(run.job.folder, self._parent)
        elapsed = format_duration(time.monotonic() - run.started)
        return [folder, name_step(run.step), epoch, *scores, elapsed]

    def _print(self, line: str) -> None:
        """Print a line that is not broken."""
        with self._lock:
            self.console.print(line, soft_wrap=True, highlight=False)


@contextmanager
def show_sweep(
    jobs: Sequence[SweepJob], max_parallel: int, console: PlainConsole | None = None
) -> Iterator[SweepDisplay]:
    """Show the course of a sweep while the block runs it.

    Args:
        jobs: All jobs of the sweep.
        max_parallel: Largest number of jobs at a time.
        console: Where to print; None is standard output.
    """
    console = console or PlainConsole()
    display = SweepDisplay(SweepProgress(jobs, max_parallel), console)
    if not console.is_terminal or console.is_dumb_terminal:
        yield display
        return
    display.live = Live(
        console=console,
        get_renderable=display.render,
        refresh_per_second=_REFRESHES,
        transient=True,
    )
    with (
        termination_interrupts(),
        display.live,
    ):  # a signal ends the sweep, and then restores the cursor
        yield display
