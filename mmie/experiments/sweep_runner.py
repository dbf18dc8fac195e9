"""Runs the jobs of a sweep in processes of their own; what is finished is not run again."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmie.experiments.sweep import Job, SweepError
from mmie.runs.folder import BEST, CONFIG, LAST
from mmie.runs.metrics import read_metrics

LOG = "sweep.log"
_RECORD = "sweep.json"
_NOT_BEGUN = "a run that it needs"
"""What failed where a job was not begun."""
COMMAND = (sys.executable, "-m", "mmie.cli")
"""The ``mmie`` command in this Python."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: The job.
        failed: The step that failed: ``fit`` or a test; or what kept it from beginning; empty if nothing did.
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
    """Run all jobs; one that fails stops only those that need it.

    Args:
        jobs: The jobs, each behind those that it needs; folders of another sweep's jobs are refused before anything is
            run.
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
            for future in as_completed(_submit(pool, jobs, test_pictures, threads, command)):
                outcome = future.result()
                failed += [outcome] if outcome.failed else []
                if report is not None:
                    report(outcome)
        except BaseException:  # an interrupt by the user too: what has not begun shall not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failed:
        begun = [outcome for outcome in failed if outcome.failed != _NOT_BEGUN]
        logs = ", ".join(f"{outcome.job.folder / LOG} ({outcome.failed})" for outcome in begun)
        waiting = f"; {len(failed) - len(begun)} more need them" if len(failed) > len(begun) else ""
        raise SweepError(
            f"{len(begun)} of {len(jobs)} runs failed: {logs}{waiting}; run the same command again for these alone"
        )


def describe_outcome(outcome: Outcome) -> str:
    """One line on how a job ended."""
    folder = outcome.job.folder
    if outcome.failed == _NOT_BEGUN:
        return f"{folder}: not begun, {_NOT_BEGUN} failed"
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
    if not job.fits:
        _remember(job, fitted=True)
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
            line = [*command, "test", *_test_options(job), f"--run_dir={job.folder}", *options]
            if not _run(job, line, threads):
                return Outcome(job, section, tuple(done))
    return Outcome(job, "", tuple(done))


def _submit(
    pool: ThreadPoolExecutor,
    jobs: Sequence[Job],
    test_pictures: bool,
    threads: int,
    command: Sequence[str],
) -> list[Future[Outcome]]:
    """Hand all jobs to the pool; it takes them in order, so none waits for one that cannot begin."""
    futures: dict[Path, Future[Outcome]] = {}
    for job in jobs:
        needed = [futures[other.folder] for other in job.after]
        futures[job.folder] = pool.submit(_run_after, needed, job, test_pictures, threads, command)
    return list(futures.values())


def _run_after(
    needed: Sequence[Future[Outcome]],
    job: Job,
    test_pictures: bool,
    threads: int,
    command: Sequence[str],
) -> Outcome:
    """Run a job when those that it needs have ended; not if one of them failed."""
    ended = [future.result() for future in needed]
    if any(outcome.failed for outcome in ended):
        return Outcome(job, _NOT_BEGUN, ())
    return run_job(job, test_pictures, threads, command)


def _test_options(job: Job) -> list[str]:
    """What a test of the job's checkpoint is told, but for the run folder."""
    if job.fits:
        return [f"--config={job.folder / CONFIG}"]
    fitted, other = job.after[0].folder, job.after[-1].folder
    data = _read_config(other)["data"]
    corpus, contexts = json.dumps(data["corpus"]), data.get("context_file") or "null"
    checkpoint = [f"--config={fitted / CONFIG}", f"--ckpt_path={fitted / BEST}"]
    return [*checkpoint, f"--data.corpus={corpus}", f"--data.context_file={contexts}"]


def _read_config(folder: Path) -> dict[str, Any]:
    """The whole configuration of a fitted run."""
    config: dict[str, Any] = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    return config


def _tests(job: Job, test_pictures: bool) -> Iterator[tuple[str, list[str]]]:
    """Sections of ``metrics.json`` that the job's tests fill, and their options.

    A method that was fitted without pictures has no others to be tested with.
    """
    yield "test", []
    own = _read_config(job.folder if job.fits else job.after[0].folder)["data"].get(
        "pictures", "right"
    )
    if test_pictures and own != "none":
        for pictures in ("shuffled", "none"):
            if pictures != own:
                yield f"test_{pictures}", [f"--data.pictures={pictures}"]


def _run(job: Job, line: Sequence[str], threads: int) -> bool:
    """Run a command line; gives whether it succeeded."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with (job.folder / LOG).open("a", encoding="utf-8") as log:
        print("$", shlex.join(line), file=log, flush=True)
        ended = subprocess.run(
            line, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    return ended.returncode == 0


def _identity(job: Job) -> str:
    """Digest of all that makes the run, the content of its configuration files and the runs it needs included."""
    digest = hashlib.sha256(
        json.dumps([job.settings, job.seed, *([] if job.fits else ["test"])]).encode()
    )
    for config in job.configs:
        digest.update(config.read_bytes())
    for other in job.after:
        digest.update(_identity(other).encode())
    return digest.hexdigest()


def _known(job: Job) -> dict[str, object]:
    """What the folder remembers of its job; nothing in a folder that no sweep was in."""
    file = job.folder / _RECORD
    known: dict[str, object] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return known


def _remember(job: Job, fitted: bool) -> None:
    """Write down what the folder is for, and whether it is fitted."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / _RECORD).write_text(
        json.dumps({"job": _identity(job), "fitted": fitted}) + "\n", encoding="utf-8"
    )


def _is_fitted(job: Job) -> bool:
    return bool(_known(job).get("fitted"))


def _check_same(job: Job) -> None:
    """Refuse a folder that holds another run than this one.

    Raises:
        SweepError: It does.
    """
    known = _known(job).get("job")
    is_used = any((job.folder / name).exists() for name in (LAST, CONFIG))
    if known not in (None, _identity(job)) or (known is None and is_used):
        raise SweepError(
            f"{job.folder} holds a run with other settings or another configuration: choose another --out, or remove it"
        )
