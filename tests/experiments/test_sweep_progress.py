"""The state of a sweep, and the time that is left."""

import pytest
from helpers.sweeps import plan_jobs, write_course

from mmie.experiments.job_runner import RunOutcome
from mmie.experiments.sweep_progress import FitCourse, SweepProgress, read_course


def done(job, seconds):
    """Outcome of a job that was fitted and tested."""
    return RunOutcome(job, "", ("fit", "test"), seconds=seconds)


def test_the_course_of_a_fit_is_read_from_its_record(tmp_path):
    assert read_course(tmp_path) == FitCourse()
    write_course(tmp_path, [0.5, 0.75, 0.625])
    course = read_course(tmp_path)
    assert course == FitCourse(3, 4, 10.0, 0.625, 0.75)
    assert course.seconds_left == 10
    write_course(tmp_path, [0.5], max_epochs=-1)
    assert read_course(tmp_path).seconds_left is None


@pytest.mark.parametrize("content", ["{", "[]", '{"fit": 3}', '{"fit": {"epochs": [{}]}}'])
def test_a_damaged_record_counts_as_none(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    assert read_course(tmp_path) == FitCourse()


def test_runs_are_counted_by_their_state(tmp_path):
    jobs = plan_jobs(tmp_path, 5)
    progress = SweepProgress(jobs, 2)
    assert progress.describe() == "0 of 5 runs done, 5 waiting"
    assert progress.begin_step(jobs[0], "fit")
    assert not progress.begin_step(jobs[0], "test"), "not the first step"
    assert progress.begin_step(jobs[1], "fit")
    progress.end_job(done(jobs[0], 120))
    progress.end_job(RunOutcome(jobs[1], "fit", ("fit",), seconds=1))
    progress.begin_step(jobs[2], "fit")
    text = progress.describe()
    assert text.startswith("1 of 5 runs done, 1 failed, 1 running, 2 waiting, about 3.0 min left")
    assert [run.job for run in progress.running] == [jobs[2]]


def test_time_left_is_that_of_similar_runs_shared_by_the_workers(tmp_path):
    jobs = [*plan_jobs(tmp_path, 3, "a"), *plan_jobs(tmp_path, 3, "b")]
    progress = SweepProgress(jobs, 2)
    assert progress.estimate_seconds_left() is None
    progress.end_job(done(jobs[0], 100))
    assert progress.estimate_seconds_left() == pytest.approx(250), "b is taken to be as long as a"
    progress.end_job(done(jobs[3], 20))
    assert progress.estimate_seconds_left() == pytest.approx((2 * 100 + 2 * 20) / 2)
    for job in (jobs[1], jobs[4], jobs[5]):
        progress.end_job(done(job, 100 if job is jobs[1] else 20))
    assert progress.estimate_seconds_left() == pytest.approx(100), "one run has one worker"
    progress.end_job(RunOutcome(jobs[2], "", ()))
    assert progress.estimate_seconds_left() == 0
    assert progress.describe() == "6 of 6 runs done"


def test_epochs_tell_the_time_left_before_any_run_has_ended(tmp_path):
    jobs = plan_jobs(tmp_path, 3)
    progress = SweepProgress(jobs, 1)
    progress.begin_step(jobs[0], "fit")
    assert progress.estimate_seconds_left() is None
    write_course(jobs[0].folder, [0.5], max_epochs=4, seconds=10)
    assert progress.estimate_seconds_left() == pytest.approx(90, abs=5), "30 s of each of the runs"
    progress.begin_step(jobs[0], "test")
    assert progress.estimate_seconds_left() is None, "nothing tells how long the others take"


def test_what_an_earlier_sweep_has_finished_tells_no_time(tmp_path):
    jobs = plan_jobs(tmp_path, 2)
    progress = SweepProgress(jobs, 1)
    progress.end_job(RunOutcome(jobs[0], "", (), seconds=0.1))
    assert progress.estimate_seconds_left() is None
    progress.end_job(RunOutcome(jobs[0], "", ("test",), seconds=5))
    assert progress.estimate_seconds_left() is None, "a test alone is no whole run"
