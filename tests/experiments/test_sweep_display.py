"""A live table on a terminal, and plain lines in a file or pipe."""

import io

import pytest
from helpers.paths import CONFIGS
from helpers.sweeps import plan_jobs, write_course

from mmie.experiments.job_runner import RunOutcome
from mmie.experiments.sweep import plan_sweep
from mmie.experiments.sweep_display import SweepDisplay, show_sweep
from mmie.experiments.sweep_progress import SweepProgress
from mmie.experiments.sweep_runner import run_sweep
from mmie.utils.terminal import PlainConsole

WIDTH = 80


def build_console(is_terminal=False):
    """Return a console of 80 columns that keeps what is printed."""
    return PlainConsole(
        file=io.StringIO(), width=WIDTH, force_terminal=is_terminal, color_system=None
    )


@pytest.mark.slow
def test_a_pipe_gets_a_line_when_a_run_starts_and_when_it_ends(tmp_path, fake_command):
    jobs = plan_sweep([str(CONFIGS / "demo_rap.yaml")], [], "2", tmp_path / ("out" * 20))
    console = build_console()
    with show_sweep(jobs, 1, console) as display:
        run_sweep(jobs, report=display.end_job, command=fake_command, announce=display.begin_step)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    first, second = (job.folder for job in jobs)
    # the next run may start before the outcome of the last one is printed
    assert lines[0] == f"{first}: run 1 of 2 starts"
    assert f"{second}: run 2 of 2 starts" in lines
    [end] = [line for line in lines if line.startswith(f"{first}: fit, test, test F1 50.00, ")]
    assert " s (1 of 2 runs done, " in end
    assert lines[-1].startswith(f"{second}: fit, test, test F1 50.00, ")
    assert lines[-1].endswith(" s (2 of 2 runs done)")
    assert "\x1b" not in "".join(lines)


def test_the_table_has_epoch_and_scores_of_each_running_fit(tmp_path):
    jobs = plan_jobs(tmp_path, 5)
    display = SweepDisplay(SweepProgress(jobs, 3), build_console())
    assert display.render() == "0 of 5 runs done, 5 waiting"
    for job in jobs[:3]:
        display.begin_step(job, "fit")
    write_course(jobs[0].folder, [0.5, 0.96456, 0.75], max_epochs=24)
    write_course(jobs[1].folder, [0.5] * 24, max_epochs=24)
    display.begin_step(jobs[1], "test_shuffled")
    display.console.print(display.render())
    lines = display.console.file.getvalue().splitlines()[3:]  # after the lines of the starts
    assert max(map(len, lines)) <= WIDTH
    rows = [line for line in lines if "seed_" in line]
    for part in ("seed_0", " fit ", "4 of 24", "75.00", "96.46", "0 s"):
        assert part in rows[0]
    assert "test with shuffled" in rows[1]
    assert "24 of 24" not in rows[1], "a test has no epoch"
    assert " 1 " in rows[2]
    assert lines[-1].startswith("0 of 5 runs done, 3 running, 2 waiting")


def test_the_last_epoch_stays_until_the_fit_has_ended(tmp_path):
    [job] = plan_jobs(tmp_path, 1)
    display = SweepDisplay(SweepProgress([job], 1), build_console())
    display.begin_step(job, "fit")
    write_course(job.folder, [0.5, 0.5], max_epochs=2)
    display.console.print(display.render())
    assert "2 of 2" in display.console.file.getvalue()


def test_a_terminal_gets_the_table_and_keeps_the_lines_of_ended_runs(tmp_path):
    jobs = plan_jobs(tmp_path, 2)
    console = build_console(is_terminal=True)
    with show_sweep(jobs, 1, console) as display:
        write_course(jobs[0].folder, [0.5], max_epochs=3)
        display.begin_step(jobs[0], "fit")
        display.end_job(RunOutcome(jobs[0], "fit", ("fit",), seconds=3))
    text = console.file.getvalue()
    assert "2 of 3" in text
    assert "starts" not in text
    assert f"{jobs[0].folder}: fit failed after 3 s" in "".join(text.split("\n"))
    assert text.rstrip().endswith("\x1b[2K"), "the table is removed at the end"
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor is shown again"


def test_a_failure_restores_the_terminal(tmp_path):
    console = build_console(is_terminal=True)
    with (
        pytest.raises(KeyboardInterrupt),
        show_sweep(plan_jobs(tmp_path, 1), 1, console),
    ):
        raise KeyboardInterrupt
    assert console.file.getvalue().count("\x1b[?25h") == 1
