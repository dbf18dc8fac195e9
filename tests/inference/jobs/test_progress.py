"""Progress is a bar on a terminal and lines in a log."""

import io

import pytest
from rich.console import Console

from mmie.inference.jobs import progress
from mmie.inference.jobs.progress import LogProgress, show_progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set."""

    class Clock:
        seconds = 0.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.seconds)
    return Clock


@pytest.mark.parametrize(
    ("total", "line"),
    [(100, "60 posts of 100, 40 s left, 1.0 posts/s"), (None, "60 posts, 1.0 posts/s")],
)
def test_a_log_has_a_line_after_each_interval(clock, total, line):
    output = io.StringIO()
    log = LogProgress(Console(file=output), total, done=20, interval=30.0)
    for seconds in (10, 20, 40, 50):
        clock.seconds = seconds
        log.advance(10 if seconds < 40 else 20)
    assert output.getvalue().splitlines() == [line]


def test_without_a_terminal_the_log_goes_to_standard_error(clock, capsys):
    with show_progress(total=10, done=0) as advance:
        clock.seconds = 31
        advance(5)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "5 posts of 10, 31 s left, 0.2 posts/s\n"


def test_a_terminal_shows_a_bar(monkeypatch):
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80)
    monkeypatch.setattr(progress, "PlainConsole", lambda stderr: console)
    with show_progress(total=10, done=2) as advance:
        advance(3)
    assert "5/10" in output.getvalue()
    assert "posts/s" in output.getvalue()
