"""Course of a sweep: which runs wait, run and have ended, and how long the rest will take."""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from mmie.experiments.job_runner import RunOutcome
from mmie.experiments.sweep import SweepJob
from mmie.runs.folder import RunError
from mmie.runs.metrics import read_metrics
from mmie.runs.settings import SETTINGS
from mmie.utils.wording import format_duration

_LIKENESS: tuple[Callable[[SweepJob], Hashable], ...] = (
    lambda job: (job.configs, job.settings, job.fits),
    lambda job: (job.configs, job.fits),
    lambda job: job.fits,
)
"""What runs of similar length have in common, the most similar first."""


@dataclass(frozen=True, slots=True)
class FitCourse:
    """Course of a fit, as the record in its run folder has it.

    Attributes:
        epochs: Number of epochs that have ended.
        max_epochs: Number of epochs of the whole fit; None if another limit ends it.
        epoch_seconds: Mean time of an epoch.
        last: Validation F1 of the last epoch that was validated, 0 to 1; None without one.
        best: Best validation F1 so far, 0 to 1; None without one.
    """

    epochs: int = 0
    max_epochs: int | None = None
    epoch_seconds: float = 0.0
    last: float | None = None
    best: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """Estimated time of the remaining epochs, None before the first one has ended."""
        if self.max_epochs is None or not self.epochs:
            return None
        return self.epoch_seconds * max(0, self.max_epochs - self.epochs)


def read_course(folder: Path) -> FitCourse:
    """Read how far the fit in a run folder is. A record that cannot be read counts as none."""
    try:
        metrics = read_metrics(folder)
        max_epochs = metrics.get(SETTINGS, {}).get("trainer.max_epochs")
        epochs = metrics.get("fit", {}).get("epochs", [])
        seconds = [float(epoch["seconds"]) for epoch in epochs]
        scores = [float(epoch["val/f1"]) for epoch in epochs if "val/f1" in epoch]
    except (RunError, OSError, LookupError, TypeError, ValueError, AttributeError):
        return FitCourse()
    is_limited = isinstance(max_epochs, int) and max_epochs >= 0
    return FitCourse(
        epochs=len(seconds),
        max_epochs=max_epochs if is_limited else None,
        epoch_seconds=fmean(seconds) if seconds else 0.0,
        last=scores[-1] if scores else None,
        best=max(scores, default=None),
    )


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that runs now.

    Attributes:
        job: The job.
        step: The step that runs: ``fit`` or the section of a test.
        started: Time at which its first step began, in seconds of `time.monotonic`.
    """

    job: SweepJob
    step: str
    started: float


class SweepProgress:
    """Runs of a sweep that wait, run and have ended. Threads may call its methods.

    Args:
        jobs: All jobs of the sweep.
        max_parallel: Largest number of jobs at a time.
    """

    def __init__(self, jobs: Sequence[SweepJob], max_parallel: int) -> None:
        self.jobs = tuple(jobs)
        self.max_parallel = max_parallel
        self._running: dict[Path, RunningJob] = {}
        self._outcomes: dict[Path, RunOutcome] = {}
        self._lock = threading.Lock()

    def begin_step(self, job: SweepJob, step: str) -> bool:
        """Note that a step begins, and return whether it is the job's first."""
        with self._lock:
            earlier = self._running.get(job.folder)
            started = time.monotonic() if earlier is None else earlier.started
            self._running[job.folder] = RunningJob(job, step, started)
        return earlier is None

    def end_job(self, outcome: RunOutcome) -> None:
        """Note the outcome of a job."""
        with self._lock:
            self._running.pop(outcome.job.folder, None)
            self._outcomes[outcome.job.folder] = outcome

    @property
    def running(self) -> list[RunningJob]:
        """Jobs that run now, the first started first."""
        with self._lock:
            return list(self._running.values())

    @property
    def outcomes(self) -> list[RunOutcome]:
        """Outcomes of the jobs that have ended."""
        with self._lock:
            return list(self._outcomes.values())

    def describe(self) -> str:
        """Describe how many runs are done, failed, running and waiting, and the time left."""
        outcomes, running = self.outcomes, self.running
        num_failed = sum(bool(outcome.failed) for outcome in outcomes)
        num_waiting = len(self.jobs) - len(outcomes) - len(running)
        parts = [f"{len(outcomes) - num_failed} of {len(self.jobs)} runs done"]
        for count, name in ((num_failed, "failed"), (len(running), "running")):
            if count:
                parts.append(f"{count} {name}")
        if num_waiting:
            parts.append(f"{num_waiting} waiting")
        left = self.estimate_seconds_left()
        if left:
            parts.append(f"about {format_duration(left)} left")
        return ", ".join(parts)

    def estimate_seconds_left(self) -> float | None:
        """Estimate the time until the last run ends, from runs that have ended and epochs so far.

        Returns:
            Seconds; None while nothing tells how long a waiting or running job takes.
        """
        running = self.running
        started = {run.job.folder for run in running}
        ended = {outcome.job.folder for outcome in self.outcomes}
        samples = list(self._durations(running))
        left = []
        for run in running:
            left.append(_seconds_left(run, samples))
        for job in self.jobs:
            if job.folder not in started | ended:
                left.append(_expected_seconds(job, samples))
        known = [seconds for seconds in left if seconds is not None]
        if len(known) < len(left):
            return None
        workers = max(1, min(self.max_parallel, len(left)))
        return max([sum(known) / workers, *known], default=0.0)

    def _durations(self, running: Sequence[RunningJob]) -> Iterator[tuple[SweepJob, float]]:
        """Yield jobs and the time that they took, or will have taken by their epochs so far."""
        for outcome in self.outcomes:
            is_whole = "fit" in outcome.steps or not outcome.job.fits
            if outcome.steps and is_whole and not outcome.failed:
                yield outcome.job, outcome.seconds
        for run in running:
            left = read_course(run.job.folder).seconds_left if run.step == "fit" else None
            if left is not None:
                yield run.job, time.monotonic() - run.started + left


def _seconds_left(run: RunningJob, samples: Sequence[tuple[SweepJob, float]]) -> float | None:
    """Estimate the remaining time of a running job, by its epochs or else by other runs."""
    if run.step == "fit":
        left = read_course(run.job.folder).seconds_left
        if left is not None:
            return left
    expected = _expected_seconds(run.job, samples)
    if expected is None:
        return 0.0 if run.step != "fit" else None
    return max(0.0, expected - (time.monotonic() - run.started))


def _expected_seconds(job: SweepJob, samples: Sequence[tuple[SweepJob, float]]) -> float | None:
    """Return the mean time of the runs that are most similar to a job, None without any."""
    for likeness in _LIKENESS:
        alike = [seconds for other, seconds in samples if likeness(other) == likeness(job)]
        if alike:
            return fmean(alike)
    return None
