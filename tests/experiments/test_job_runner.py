"""A job runs the steps that are missing, and never in the folder of another run."""

import json
from dataclasses import replace

import pytest
from helpers.paths import CONFIGS

from mmie.experiments.job_runner import JobRunner, check_folder
from mmie.experiments.sweep import SweepError, plan_sweep
from mmie.runs.metrics import read_metrics

pytestmark = pytest.mark.slow

RAP = CONFIGS / "demo_rap.yaml"


@pytest.fixture
def job(tmp_path):
    [job] = plan_sweep([str(RAP)], [], "1", tmp_path / "out")
    return job


def test_only_missing_steps_are_run(job, fake_command):
    runner = JobRunner(fake_command)
    outcome = runner.run(job)
    assert (outcome.job, outcome.failed, outcome.steps) == (job, "", ("fit", "test"))
    (job.folder / "no_test").touch()
    runner = JobRunner(fake_command, test_pictures=True)
    outcome = runner.run(job)
    assert (outcome.failed, outcome.steps) == ("test_shuffled", ("test_shuffled",))
    (job.folder / "no_test").unlink()
    assert runner.run(job).steps == ("test_shuffled", "test_none")
    assert runner.run(job).steps == ()


@pytest.mark.parametrize(
    ("pictures", "steps"),
    [("none", ()), ("shuffled", ("test_none",)), ("right", ("test_shuffled", "test_none"))],
)
def test_picture_tests_leave_out_the_pictures_of_the_fit(job, fake_command, pictures, steps):
    job = replace(job, settings=(("data.pictures", pictures),))
    outcome = JobRunner(fake_command, test_pictures=True).run(job)
    assert outcome.steps == ("fit", "test", *steps)


def test_an_interrupted_fit_continues_from_its_last_checkpoint(job, fake_command):
    runner = JobRunner(fake_command)
    job.folder.mkdir(parents=True)
    (job.folder / "no_fit").touch()
    assert runner.run(job).failed == "fit"
    assert json.loads((job.folder / "sweep.json").read_text())["fitted"] is False
    assert "--ckpt_path" not in (job.folder / "sweep.log").read_text()
    (job.folder / "no_fit").unlink()
    (job.folder / "last.ckpt").touch()
    assert runner.run(job).failed == ""
    assert f"--ckpt_path={job.folder / 'last.ckpt'}" in (job.folder / "sweep.log").read_text()
    assert json.loads((job.folder / "sweep.json").read_text())["fitted"] is True


@pytest.mark.parametrize(("of_user", "threads"), [("", "3"), ("7", "7")])
def test_the_log_names_the_command_and_its_threads(
    job, fake_command, monkeypatch, of_user, threads
):
    monkeypatch.setenv("OMP_NUM_THREADS", of_user)
    JobRunner(fake_command, threads=3).run(job)
    lines = (job.folder / "sweep.log").read_text().splitlines()
    assert lines[0].endswith(f"fit --config={RAP} --seed_everything=1234 --run_dir={job.folder}")
    assert lines[1] == f"threads {threads}", "the user's setting is kept"


def test_each_step_is_announced_when_it_begins(job, fake_command):
    steps = []

    def announce(begun, step):
        assert begun is job
        assert step not in read_metrics(job.folder), "the step has not run yet"
        steps.append(step)

    outcome = JobRunner(fake_command, test_pictures=True, announce=announce).run(job)
    assert tuple(steps) == outcome.steps == ("fit", "test", "test_shuffled", "test_none")
    assert outcome.seconds > 0
    assert JobRunner(fake_command, announce=announce).run(job).steps == ()


def test_a_test_of_another_runs_checkpoint_is_not_fitted(job, tmp_path, fake_command):
    runner = JobRunner(fake_command)
    [other] = plan_sweep([str(RAP)], [], "7,", tmp_path / "out")
    for fit in (job, other):
        runner.run(fit)
    (other.folder / "config.yaml").write_text("data: {corpus: {class_path: Other}}")
    crossed = replace(job, folder=tmp_path / "crossed", after=(job, other), fits=False)
    assert runner.run(crossed).steps == ("test",)
    log = (crossed.folder / "sweep.log").read_text()
    assert f"--ckpt_path={job.folder / 'best.ckpt'}" in log
    assert """'--data.corpus={"class_path": "Other"}' --data.context_file=null""" in log


def test_a_folder_of_another_run_is_refused(job, tmp_path, fake_command):
    check_folder(job)
    JobRunner(fake_command).run(job)
    check_folder(job)
    for changed in (
        replace(job, settings=(("a", "1"),)),
        replace(job, seed=2),
        replace(job, fits=False, after=(job,)),
        replace(job, configs=(CONFIGS / "demo_imm.yaml",)),
    ):
        with pytest.raises(SweepError, match="holds a run with other settings"):
            check_folder(changed)
        with pytest.raises(SweepError, match="choose another --out, or remove it"):
            JobRunner(fake_command).run(changed)


@pytest.mark.parametrize("name", ["last.ckpt", "config.yaml"])
def test_a_run_without_a_record_is_refused(job, name):
    job.folder.mkdir(parents=True)
    check_folder(job)
    (job.folder / name).touch()
    with pytest.raises(SweepError, match=str(job.folder)):
        check_folder(job)


def test_a_test_of_a_part_of_the_split_is_not_done(job, fake_command):
    runner = JobRunner(fake_command)
    runner.run(job)
    file = job.folder / "metrics.json"
    sections = json.loads(file.read_text())
    partial = {**sections["test"], "count": 16, "instances": 48}
    file.write_text(json.dumps({**sections, "test": partial}))
    assert runner.run(job).steps == ("test",)
    assert runner.run(job).steps == ()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("sweep.json", "", "sweep.json is damaged: remove the folder"),
        ("sweep.json", "[1]", "sweep.json is damaged: remove the folder"),
        ("metrics.json", "{", "metrics.json is damaged"),
        ("config.yaml", "", "config.yaml is damaged"),
        ("config.yaml", None, "config.yaml: No such file or directory"),
        ("best.ckpt", None, "best.ckpt is gone: remove the folder to fit again"),
    ],
)
def test_a_damaged_folder_is_an_outcome_with_a_reason(job, fake_command, name, content, reason):
    runner = JobRunner(fake_command)
    runner.run(job)
    (job.folder / name).unlink()
    if content is not None:
        (job.folder / name).write_text(content)
    elif name == "best.ckpt":
        (job.folder / "metrics.json").unlink()
    outcome = runner.run(job)
    assert outcome.failed == "folder"
    assert reason in outcome.reason
    check_folder(job)
