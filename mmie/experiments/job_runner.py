"""Fit and tests of one job of a sweep, each in a process of its own.

``sweep.json`` in the run folder records the job and whether it is fitted, ``sweep.log`` holds the
output of its processes. They hold the lock of this file, also after the end of the sweep.
"""

import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmie.experiments.processes import RunProcesses
from mmie.experiments.sweep import SweepError, SweepJob
from mmie.runs.folder import BEST, CONFIG, LAST, RunError
from mmie.runs.metrics import is_partial, read_config, read_metrics
from mmie.runs.picture_tests import TEST_TITLES
from mmie.utils.files import atomic_write_text, open_to_append
from mmie.utils.locks import LockError, hold_with_children, is_held
from mmie.utils.processes import with_thread_limit
from mmie.utils.text import describe_os_error

LOG = "sweep.log"
COMMAND = (sys.executable, "-m", "mmie.cli")
"""The ``mmie`` command in this Python."""
_RECORD = "sweep.json"
_DAMAGED = "folder"
"""Value of `RunOutcome.failed` of a job whose folder is damaged."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """Result of a job.

    Attributes:
        job: The job.
        failed: The step that failed (``fit`` or the section of a test), or why the job was not
            started; empty if it succeeded.
        steps: Steps that this call has run.
        reason: What is wrong with the job's folder, for a job that was not started.
        seconds: Time that these steps took.
    """

    job: SweepJob
    failed: str
    steps: tuple[str, ...]
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runner of jobs.

    Attributes:
        command: Command that runs ``mmie``.
        threads: Most threads of each process, unless the user has set ``OMP_NUM_THREADS``.
        test_pictures: Whether to test with shuffled pictures and without pictures as well.
        announce: Receives each job and step that begins: ``fit`` or the section of a test.
        processes: Processes that run now, which another thread may end.
    """

    command: Sequence[str] = COMMAND
    threads: int = 1
    test_pictures: bool = False
    announce: Callable[[SweepJob, str], None] | None = None
    processes: RunProcesses = field(default_factory=RunProcesses)

    def run(self, job: SweepJob) -> RunOutcome:
        """Run the steps of a job that are not done yet.

        A fit that was interrupted continues from ``last.ckpt``. A test of a part of the split is
        not done.

        Raises:
            SweepError: The folder holds another run.
        """
        started = time.monotonic()
        try:
            outcome = self._run(job)
            return replace(outcome, seconds=time.monotonic() - started)
        except RunError as error:
            return RunOutcome(job, _DAMAGED, (), str(error))
        except OSError as error:
            return RunOutcome(job, _DAMAGED, (), describe_os_error(error))

    def _run(self, job: SweepJob) -> RunOutcome:
        """Run the steps of a job that are not done yet.

        Raises:
            SweepError: The folder holds another run.
            RunError: A file of the folder is damaged, or the checkpoint is gone.
            OSError: A file of the folder is gone or cannot be read.
        """
        check_folder(job)
        steps = []
        if not job.fits:
            _write_record(job, fitted=True)
        elif not _read_record(job).get("fitted"):
            steps.append(self._begin(job, "fit"))
            if not self._fit(job):
                return RunOutcome(job, "fit", tuple(steps))
        for section, options in self._tests(job).items():
            done = read_metrics(job.folder).get(section)
            if done is not None and not is_partial(done):
                continue
            if job.fits and not (job.folder / BEST).exists():
                raise RunError(f"{job.folder / BEST} is gone: remove the folder to fit again")
            steps.append(self._begin(job, section))
            line = [*self.command, "test", *_checkpoint_options(job), f"--run_dir={job.folder}"]
            if not self._execute(job, [*line, *options]):
                return RunOutcome(job, section, tuple(steps))
        return RunOutcome(job, "", tuple(steps))

    def _begin(self, job: SweepJob, step: str) -> str:
        """Announce a step and return its name."""
        if self.announce is not None:
            self.announce(job, step)
        return step

    def _fit(self, job: SweepJob) -> bool:
        """Fit a job from scratch or from its last checkpoint, and return whether it succeeded."""
        _write_record(job, fitted=False)
        line = [*self.command, "fit", *job.fit_options]
        last = job.folder / LAST
        if last.exists():
            line.append(f"--ckpt_path={last}")
        succeeded = self._execute(job, line)
        if succeeded:
            _write_record(job, fitted=True)
        return succeeded

    def _tests(self, job: SweepJob) -> dict[str, list[str]]:
        """Map the sections of ``metrics.json`` that the job's tests fill to the tests' options.

        A method that was fitted without pictures is not tested with others.
        """
        if not job.tests:
            return {}
        tests: dict[str, list[str]] = {"test": []}
        config = read_config((job if job.fits else job.after[0]).folder)
        fitted_pictures = config["data"].get("pictures", "right")
        if self.test_pictures and fitted_pictures != "none":
            for pictures in ("shuffled", "none"):
                if pictures != fitted_pictures:
                    tests[f"test_{pictures}"] = [f"--data.pictures={pictures}"]
        return tests

    def _execute(self, job: SweepJob, line: Sequence[str]) -> bool:
        """Run a command line with output to the job's log, and return whether it succeeded.

        Raises:
            SweepError: The log cannot be written, or the processes were ended.
        """
        environment = with_thread_limit(os.environ, self.threads)
        try:
            log = open_to_append(job.folder / LOG)
        except OSError as error:
            raise SweepError(
                f"{job.folder / LOG} cannot be written: {error.strerror or error}"
            ) from error
        with log:
            hold_with_children(log)
            log.write(f"$ {shlex.join(line)}\n".encode())
            log.flush()
            return self.processes.run(line, environment, log) == 0


def name_step(step: str) -> str:
    """Name a step in words.

    >>> name_step("fit"), name_step("test_none")
    ('fit', 'test without pictures')
    """
    return TEST_TITLES.get(step, step)


def check_folder(job: SweepJob) -> None:
    """Raise if a job's folder holds another run.

    Raises:
        SweepError: The recorded job is another one, or the run has no record.
    """
    try:
        recorded = _read_record(job).get("job")
    except RunError:
        return  # the outcome of this job says so, and the others go on
    if recorded is None:
        is_other = any((job.folder / name).exists() for name in (LAST, CONFIG))
    else:
        is_other = recorded != _job_digest(job)
    if is_other:
        raise SweepError(
            f"{job.folder} holds a run with other settings or another configuration: "
            "choose another --out, or remove it"
        )


def check_no_process(job: SweepJob) -> None:
    """Raise if a process of an earlier sweep still runs for a job.

    Raises:
        LockError: A process of an earlier sweep runs. It may not have locked the folder yet.
    """
    if is_held(job.folder / LOG):
        raise LockError(
            f"{job.folder} is being written by a process that an earlier sweep has started: wait "
            "until it ends"
        )


def _checkpoint_options(job: SweepJob) -> list[str]:
    """Return the options of ``mmie test`` that name the configuration and the checkpoint."""
    if job.fits:
        return [f"--config={job.folder / CONFIG}"]
    source, other = job.after[0], job.after[-1]
    data = read_config(other.folder)["data"]
    return [
        f"--config={source.folder / CONFIG}",
        f"--ckpt_path={source.folder / BEST}",
        f"--data.corpus={json.dumps(data['corpus'])}",
        f"--data.context_file={data.get('context_file') or 'null'}",
    ]


def _read_record(job: SweepJob) -> dict[str, Any]:
    """Read the record of a job's folder, which is empty if no sweep has used the folder.

    Raises:
        RunError: The record is damaged.
    """
    file = job.folder / _RECORD
    if not file.exists():
        return {}
    try:
        record: dict[str, Any] = dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RunError(f"{file} is damaged: remove the folder to fit again") from error
    return record


def _write_record(job: SweepJob, fitted: bool) -> None:
    """Record the job in its folder, and whether it is fitted."""
    record = {"job": _job_digest(job), "fitted": fitted}
    atomic_write_text(job.folder / _RECORD, json.dumps(record) + "\n")


def _job_digest(job: SweepJob) -> str:
    """Compute a digest of everything that determines a run.

    It covers settings, seed, the content of the configuration files and the jobs it needs.
    """
    kind = [] if job.fits else ["test"]
    digest = hashlib.sha256(json.dumps([job.settings, job.seed, *kind]).encode())
    for config in job.configs:
        digest.update(config.read_bytes())
    for other in job.after:
        digest.update(_job_digest(other).encode())
    return digest.hexdigest()
