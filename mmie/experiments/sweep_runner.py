"""Parallel run of the jobs of a sweep that are not finished yet."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmie.experiments.job_runner import (
    COMMAND,
    LOG,
    JobRunner,
    RunOutcome,
    check_folder,
    check_no_process,
    name_step,
)
from mmie.experiments.sweep import SweepError, SweepJob
from mmie.runs.facts import CORPUS_KEY, RUN, SPLIT_DIGEST
from mmie.runs.folder import BEST, CONFIG
from mmie.runs.metrics import COUNT, INSTANCES, is_partial, read_metrics
from mmie.utils.locks import folder_lock
from mmie.utils.processes import count_cores
from mmie.utils.signals import signals_ignored, termination_interrupts
from mmie.utils.wording import format_duration, format_score

_PURPOSE = "sweep"
"""Purpose of the lock of a sweep. The fits and tests that it starts hold another one."""
_NOT_STARTED = "a run that it needs"
"""Value of `RunOutcome.failed` of a job that was not started because another one failed."""


def run_sweep(
    jobs: Sequence[SweepJob],
    max_parallel: int = 1,
    test_pictures: bool = False,
    report: Callable[[RunOutcome], None] | None = None,
    command: Sequence[str] = COMMAND,
    announce: Callable[[SweepJob, str], None] | None = None,
) -> None:
    """Run all jobs, except those that need a failed job.

    Args:
        jobs: The jobs, ordered so that a job follows those that it needs. If a folder holds another
            sweep's job, nothing is run.
        max_parallel: Largest number of processes at a time. They share the cores, unless the user
            has set the number of threads (``OMP_NUM_THREADS``).
        test_pictures: Whether to test with shuffled pictures and without pictures as well.
        report: Receives the outcome of every job.
        command: Command that runs ``mmie``.
        announce: Receives each job and step that begins, in the thread that runs the job.

    Raises:
        SweepError: A folder holds another run, jobs have failed, or the corpus has changed between
            runs; the message names logs or folders.
        LockError: Another sweep has one of the jobs, or a process of an earlier one still runs.
    """
    threads = max(1, count_cores() // max_parallel)
    runner = JobRunner(command, threads, test_pictures, announce)
    outcomes = []
    with termination_interrupts(), hold_folders(jobs), ThreadPoolExecutor(max_parallel) as pool:
        try:
            futures = _submit(pool, runner, jobs)
            for future in as_completed(futures):
                outcome = future.result()
                outcomes.append(outcome)
                if report is not None:
                    report(outcome)
        except BaseException:  # interrupts included: no run goes on, and none starts
            with signals_ignored():
                pool.shutdown(wait=False, cancel_futures=True)
                runner.processes.end()
            raise
    _raise_for_failures(outcomes)
    _raise_for_editions(jobs)


@contextmanager
def hold_folders(jobs: Sequence[SweepJob]) -> Iterator[None]:
    """Hold the folders of all jobs against other sweeps.

    Raises:
        SweepError: A folder holds another run.
        LockError: Another sweep has one of the jobs, or a process of an earlier one still runs.
    """
    with ExitStack() as locks:
        for job in jobs:
            locks.enter_context(folder_lock(job.folder, _PURPOSE))
            with folder_lock(job.folder):  # free: a fit outlives a sweep that was killed
                check_folder(job)
            check_no_process(job)
        yield


def describe_outcome(outcome: RunOutcome) -> str:
    """Describe the outcome of a job in one line."""
    folder = outcome.job.folder
    if outcome.failed == _NOT_STARTED:
        return f"{folder}: not started, {_NOT_STARTED} failed"
    if outcome.reason:
        return f"{folder}: {outcome.reason}"
    if outcome.failed:
        duration = format_duration(outcome.seconds)
        step = name_step(outcome.failed)
        return f"{folder}: {step} failed after {duration}, see {folder / LOG}"
    steps = [name_step(step) for step in outcome.steps]
    line = f"{folder}: {', '.join(steps) or 'was finished'}"
    test = read_metrics(folder).get("test", {})
    if test.get("test/f1") is not None:
        line += f", test F1 {format_score(test['test/f1'])}"
    if is_partial(test):
        line += f" of {test[COUNT]} of {test[INSTANCES]} instances, which enters no mean"
    if outcome.steps:
        line += f", {format_duration(outcome.seconds)}"
    return line


def describe_plan(jobs: Sequence[SweepJob]) -> str:
    """List the commands that jobs would run, a line each, with what a study varies behind it."""
    lines = []
    for job in jobs:
        if job.fits:
            line = f"mmie fit {shlex.join(job.fit_options)}"
        else:
            checkpoint = job.after[0].folder / BEST
            corpus = job.after[-1].folder / CONFIG
            line = (
                f"mmie test --ckpt_path={checkpoint} --run_dir={job.folder}  # corpus of {corpus}"
            )
        lines.append(f"{line}  # {job.label}" if job.label else line)
    return "\n".join(lines)


def _submit(
    pool: ThreadPoolExecutor, runner: JobRunner, jobs: Sequence[SweepJob]
) -> list[Future[RunOutcome]]:
    """Submit all jobs in order, so that a waiting job never blocks those that it needs."""
    futures: dict[Path, Future[RunOutcome]] = {}
    for job in jobs:
        needed = [futures[other.folder] for other in job.after]
        futures[job.folder] = pool.submit(_run_after, needed, runner, job)
    return list(futures.values())


def _run_after(
    needed: Sequence[Future[RunOutcome]], runner: JobRunner, job: SweepJob
) -> RunOutcome:
    """Wait for the jobs that a job needs, and run it unless one of them failed."""
    outcomes = [future.result() for future in needed]
    if any(outcome.failed for outcome in outcomes):
        return RunOutcome(job, _NOT_STARTED, ())
    return runner.run(job)


def _raise_for_editions(jobs: Sequence[SweepJob]) -> None:
    """Raise if seeds of one system were fitted or tested on other editions of the corpus.

    Raises:
        SweepError: The digests of the corpus differ; the message names a folder of each edition.
    """
    editions: dict[object, dict[object, Path]] = {}
    for job in jobs:
        metrics = read_metrics(job.folder)
        digests = metrics.get(RUN, {}).get(CORPUS_KEY, {})
        split = metrics.get("test", {}).get(SPLIT_DIGEST)
        edition = (*sorted(digests.items()), split)
        editions.setdefault((job.configs, job.settings), {}).setdefault(edition, job.folder)
    for folders in editions.values():
        if len(folders) > 1:
            raise SweepError(
                f"the corpus has changed between {' and '.join(map(str, folders.values()))}: "
                "reports show them as different systems. Remove the older ones, and run the same "
                "command again"
            )


def _raise_for_failures(outcomes: Sequence[RunOutcome]) -> None:
    """Raise if jobs have failed.

    Raises:
        SweepError: Some job failed; the message names the logs.
    """
    logs = []
    num_waiting = 0
    for outcome in outcomes:
        if outcome.failed == _NOT_STARTED:
            num_waiting += 1
        elif outcome.reason:
            logs.append(outcome.reason)
        elif outcome.failed:
            logs.append(f"{outcome.job.folder / LOG} ({outcome.failed})")
    if not logs:
        return
    message = f"{len(logs)} of {len(outcomes)} runs failed: {', '.join(logs)}"
    if num_waiting:
        message += f"; {num_waiting} more need them"
    raise SweepError(f"{message}; run the same command again for these alone")
