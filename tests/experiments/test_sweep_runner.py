"""Finished jobs are not run again, and a failed job stops only those that need it."""

import os
import signal
import threading
import time
from dataclasses import replace

import pytest
from helpers.command import metrics
from helpers.paths import CONFIGS

from mmie.experiments.job_runner import RunOutcome
from mmie.experiments.sweep import SweepError, SweepJob, plan_sweep
from mmie.experiments.sweep_runner import describe_outcome, run_sweep
from mmie.utils.locks import LockError, folder_lock, is_held

pytestmark = pytest.mark.slow

RAP = CONFIGS / "demo_rap.yaml"


@pytest.fixture
def sweep(tmp_path, fake_command):
    """Runs a sweep with the fake command and returns each run's steps by its folder's name."""

    def start(*settings, seeds="1", refused=None, **options):
        steps = {}

        def record(outcome):
            steps[outcome.job.folder.name] = outcome.steps

        jobs = plan_sweep([str(RAP)], settings, seeds, tmp_path / "out")
        if refused is None:
            run_sweep(jobs, report=record, command=fake_command, **options)
        else:
            with pytest.raises(SweepError, match=refused):
                run_sweep(jobs, report=record, command=fake_command, **options)
        return steps

    return start


def test_one_failing_run_does_not_stop_the_others(sweep, tmp_path):
    bad = tmp_path / "out" / "demo_rap" / "model.text_lr=bad" / "seed_1234"
    sweep("model.text_lr=1,bad,2", refused=f"1 of 3 runs failed: {bad / 'sweep.log'} \\(fit\\)")
    assert "this one fails" in (bad / "sweep.log").read_text()
    for rate in (1, 2):
        assert metrics(bad.parents[1] / f"model.text_lr={rate}" / "seed_1234").keys() == {
            "fit",
            "test",
        }


def test_finished_jobs_are_not_run_again(sweep):
    assert sweep(seeds="2") == {"seed_1234": ("fit", "test"), "seed_1235": ("fit", "test")}
    assert sweep(seeds="3") == {"seed_1234": (), "seed_1235": (), "seed_1236": ("fit", "test")}


def test_processes_share_the_cores(sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    sweep(seeds="2", max_parallel=2)
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert (
        f"threads {threads}\n"
        in (tmp_path / "out" / "demo_rap" / "seed_1235" / "sweep.log").read_text()
    )


def test_a_folder_of_another_sweep_is_refused_before_any_job_is_run(sweep, tmp_path):
    sweep("model.dropout=0.1")
    assert (
        sweep("model.dropout=0.2", seeds="2", refused="other settings or another configuration")
        == {}
    )
    fitted = tmp_path / "out" / "demo_rap" / "seed_1235"
    fitted.mkdir()
    (fitted / "last.ckpt").touch()
    sweep("model.dropout=0.1", seeds="2", refused=str(fitted))


def test_jobs_that_need_a_failed_job_are_not_started(tmp_path, fake_command):
    first, second = plan_sweep([str(RAP)], [], "2", tmp_path / "out")
    needing = replace(first, folder=tmp_path / "out" / "needing", after=(first,))
    first.folder.mkdir(parents=True)
    (first.folder / "no_fit").touch()
    outcomes = {}

    def record(outcome):
        outcomes[outcome.job.folder] = outcome

    with pytest.raises(SweepError, match=r"^1 of 3 runs failed: .*\(fit\); 1 more need them; run"):
        run_sweep([first, needing, second], report=record, command=fake_command)
    assert outcomes[needing.folder].steps == ()
    assert not needing.folder.exists()
    assert outcomes[second.folder].failed == ""


def test_outcomes_are_described_in_one_line(tmp_path):
    job = SweepJob(tmp_path, (), (), 1)
    (tmp_path / "metrics.json").write_text('{"test": {"test/f1": 0.5}}')
    assert describe_outcome(RunOutcome(job, "", ("fit", "test_none"), seconds=84)) == (
        f"{tmp_path}: fit, test without pictures, test F1 50.00, 1.4 min"
    )
    assert describe_outcome(RunOutcome(job, "", ())) == f"{tmp_path}: was finished, test F1 50.00"
    assert describe_outcome(RunOutcome(job, "fit", ("fit",), seconds=12)) == (
        f"{tmp_path}: fit failed after 12 s, see {tmp_path / 'sweep.log'}"
    )
    assert describe_outcome(RunOutcome(job, "a run that it needs", ())) == (
        f"{tmp_path}: not started, a run that it needs failed"
    )
    (tmp_path / "metrics.json").write_text('{"test": {}}')
    assert describe_outcome(RunOutcome(job, "", ("test",))) == f"{tmp_path}: test, 0 s"


def wait_for(condition, seconds=60):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def is_alive(pid):
    """Tell whether a process exists and has not ended."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_sweep_ends_its_fits(start_long_sweep, tmp_path, number):
    process = start_long_sweep()
    folders = [tmp_path / "out" / "demo_rap" / f"seed_{seed}" for seed in (1234, 1235, 1236)]
    wait_for(lambda: (folders[0] / "pids").exists() and (folders[1] / "pids").exists())
    pids = [pid for folder in folders[:2] for pid in (folder / "pids").read_text().split()]
    assert all(map(is_alive, pids))
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    wait_for(lambda: not any(map(is_alive, pids)), 5)
    assert not folders[2].exists(), "the third run was started"
    assert list(folders[0].glob(".*")) == [], "no lock is left"


def test_a_sweep_whose_runs_another_one_has_is_refused(sweep, tmp_path):
    folder = tmp_path / "out" / "demo_rap" / "seed_1235"
    for purpose in ("run", "sweep"):  # a fit that outlived its sweep, and another sweep
        refusals = []

        def start_second(refusals=refusals):
            with pytest.raises(LockError) as caught:
                sweep(seeds="2")
            refusals.append(str(caught.value))

        with folder_lock(folder, purpose):
            thread = threading.Thread(target=start_second)
            thread.start()
            thread.join()
        assert f"{folder} is being written by process {os.getpid()} on" in refusals[0]
        assert not (tmp_path / "out" / "demo_rap").exists(), "nothing is run, nothing is left"
    with folder_lock(folder):
        assert sweep(seeds="1") == {"seed_1234": ("fit", "test")}


def test_a_fit_that_outlives_its_sweep_keeps_its_folder(start_long_sweep, sweep, tmp_path):
    # the fit of this test does not lock the folder itself, as one that has just been started
    process = start_long_sweep()
    folders = [tmp_path / "out" / "demo_rap" / f"seed_{seed}" for seed in (1234, 1235)]
    wait_for(lambda: all((folder / "pids").exists() for folder in folders))
    process.kill()
    process.communicate(timeout=60)
    with pytest.raises(LockError, match="a process that an earlier sweep has started: wait"):
        sweep(seeds="3")
    for folder in folders:
        for pid in (folder / "pids").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: not any(is_held(folder / "sweep.log") for folder in folders), 5)
    assert sweep(seeds="1") == {"seed_1234": ("fit", "test")}


def test_the_log_is_not_written_through_a_link(sweep, tmp_path):
    folder = tmp_path / "out" / "demo_rap" / "seed_1234"
    folder.mkdir(parents=True)
    (tmp_path / "keep.txt").write_text("mine")
    for name in ("sweep.log", "sweep.json"):
        (folder / name).symlink_to(tmp_path / "keep.txt")
    (folder / "sweep.json").unlink()
    sweep(refused=r"sweep\.log cannot be written: ")
    assert (tmp_path / "keep.txt").read_text() == "mine"
