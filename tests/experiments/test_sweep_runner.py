"""Finished jobs are not run again, and a failed job stops only those that need it."""

import os
from dataclasses import replace

import pytest
from helpers.command import metrics
from helpers.paths import CONFIGS

from mmie.experiments.job_runner import RunOutcome
from mmie.experiments.sweep import SweepError, SweepJob, plan_sweep
from mmie.experiments.sweep_runner import describe_outcome, run_sweep

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


def test_processes_share_the_cores(sweep, tmp_path):
    sweep(seeds="2", max_parallel=2)
    threads = max(1, (os.cpu_count() or 1) // 2)
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
    assert describe_outcome(RunOutcome(job, "", ("fit", "test"))) == (
        f"{tmp_path}: fit, test, test F1 50.00"
    )
    assert describe_outcome(RunOutcome(job, "", ())) == f"{tmp_path}: was finished, test F1 50.00"
    assert describe_outcome(RunOutcome(job, "fit", ("fit",))) == (
        f"{tmp_path}: fit failed, see {tmp_path / 'sweep.log'}"
    )
    assert describe_outcome(RunOutcome(job, "a run that it needs", ())) == (
        f"{tmp_path}: not started, a run that it needs failed"
    )
    (tmp_path / "metrics.json").write_text('{"test": {}}')
    assert describe_outcome(RunOutcome(job, "", ("test",))) == f"{tmp_path}: test"
