"""Runs the jobs of a sweep in processes of their own; what is finished is not run again."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import yaml

from mmie.training.run_folder import CONFIG, LAST, read_metrics
from mmie.training.sweep import Job, SweepError

LOG = "sweep.log"
_RECORD = "sweep.json"
COMMAND = (sys.executable, "-m", "mmie.cli")
"""The ``mmie`` command in this Python."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: The job.
        failed: The step that failed: ``fit`` or a test; empty if none did.
        steps: The steps that were run now.
    """

    job: Job
    failed: str
    steps: tuple[str, ...]


def run_sweep(
    jobs: Sequence[Job],
    at_once: int = 1,
    test_pictures: bool = False,
    report: Callable[[Outcome], None] | None = None,
    command: Sequence[str] = COMMAND,
) -> None:
    """Run all jobs; one that fails does not stop the others.

    Args:
        jobs: The jobs; folders of another sweep's jobs are refused before anything is run.
        at_once: Processes at a time, each with its share of the cores.
        test_pictures: Test with shuffled pictures and without pictures as well.
        report: Is told of every job when it has ended.
        command: What runs ``mmie``.

    Raises:
        SweepError: A folder holds another run, or, at the end, jobs failed; it names their logs.
    """
    for job in jobs:
        _check_same(job)
    threads = max(1, (os.cpu_count() or 1) // at_once)
    failed = []
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for future in as_completed([pool.submit(run_job, job, test_pictures, threads, command) for job in jobs]):
                outcome = future.result()
                failed += [outcome] if outcome.failed else []
                if report is not None:
                    report(outcome)
        except BaseException:  # an interrupt by the user too: what has not begun shall not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failed:
        logs = ", ".join(f"{outcome.job.folder / LOG} ({outcome.failed})" for outcome in failed)
        raise SweepError(f"{len(failed)} of {len(jobs)} runs failed: {logs}; run the sweep again for these alone")


def describe_outcome(outcome: Outcome) -> str:
    """One line on how a job ended."""
    folder = outcome.job.folder
    if outcome.failed:
        return f"{folder}: {outcome.failed} failed, see {folder / LOG}"
    f1 = read_metrics(folder)["test"].get("test/f1")
    score = "" if f1 is None else f", test F1 {100 * f1:.2f}"
    return f"{folder}: {', '.join(outcome.steps) or 'was finished'}{score}"


def run_job(job: Job, test_pictures: bool, threads: int, command: Sequence[str]) -> Outcome:
    """Fit and test, as far as that is not done; output goes to ``sweep.log`` in the run folder.

    A fit that was interrupted goes on from ``last.ckpt``.
    """
    _check_same(job)
    done: list[str] = []
    if not _is_fitted(job):
        _remember(job, fitted=False)
        going_on = [f"--ckpt_path={job.folder / LAST}"] if (job.folder / LAST).exists() else []
        if not _run(job, [*command, "fit", *job.fit_options, *going_on], threads):
            return Outcome(job, "fit", ("fit",))
        _remember(job, fitted=True)
        done.append("fit")
    for section, options in _tests(job, test_pictures):
        if section not in read_metrics(job.folder):
            done.append(section)
            line = [*command, "test", f"--config={job.folder / CONFIG}", f"--run_dir={job.folder}", *options]
            if not _run(job, line, threads):
                return Outcome(job, section, tuple(done))
    return Outcome(job, "", tuple(done))


def _tests(job: Job, test_pictures: bool) -> Iterator[tuple[str, list[str]]]:
    """Sections of ``metrics.json`` that the job's tests fill, and their options.

    A method that was fitted without pictures has no others to be tested with.
    """
    yield "test", []
    config = yaml.safe_load((job.folder / CONFIG).read_text(encoding="utf-8"))
    own = config["data"].get("pictures", "right")
    if test_pictures and own != "none":
        for pictures in ("shuffled", "none"):
            if pictures != own:
                yield f"test_{pictures}", [f"--data.pictures={pictures}"]


def _run(job: Job, line: Sequence[str], threads: int) -> bool:
    """Run a command line; gives whether it succeeded."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with (job.folder / LOG).open("a", encoding="utf-8") as log:
        print("$", shlex.join(line), file=log, flush=True)
        ended = subprocess.run(line, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    return ended.returncode == 0


def _identity(job: Job) -> str:
    """Digest of all that makes the run, the content of its configuration files included."""
    digest = hashlib.sha256(json.dumps([job.settings, job.seed]).encode())
    for config in job.configs:
        digest.update(config.read_bytes())
    return digest.hexdigest()


def _known(job: Job) -> dict[str, object]:
    """What the folder remembers of its job; nothing in a folder that no sweep was in."""
    file = job.folder / _RECORD
    known: dict[str, object] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return known


def _remember(job: Job, fitted: bool) -> None:
    """Write down what the folder is for, and whether it is fitted."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / _RECORD).write_text(json.dumps({"job": _identity(job), "fitted": fitted}) + "\n", encoding="utf-8")


def _is_fitted(job: Job) -> bool:
    return bool(_known(job).get("fitted"))


def _check_same(job: Job) -> None:
    """Refuse a folder that holds another run than this one.

    Raises:
        SweepError: It does.
    """
    known = _known(job).get("job")
    if known not in (None, _identity(job)) or (known is None and (job.folder / LAST).exists()):
        raise SweepError(
            f"{job.folder} holds a run with other settings or another configuration: choose another --out, or remove it"
        )
