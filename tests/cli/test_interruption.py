"""Ctrl-C at any moment: one line that says how to continue, and exit status 130."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.command import finish, start, succeed, tiny_options, write_jsonl

from mmie.cli import interruption as interruption_module
from mmie.cli.interruption import InterruptionHandler
from mmie.utils.signals import Interruption

IN_DESTRUCTOR = """
import signal, time
from mmie.cli.interruption import InterruptionHandler
from mmie.utils.signals import Interruption

class Deaf:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

handler = InterruptionHandler()
handler.install()
handler.start_command("advice")
try:
    Deaf()
    time.sleep(30)
except Interruption:
    print("raised again")
"""


@pytest.fixture
def handler():
    """A handler that is installed."""
    handler = InterruptionHandler()
    handler.install()
    yield handler
    handler.uninstall()


def test_an_interrupt_is_raised_once_the_command_runs(handler, capsys, monkeypatch):
    monkeypatch.setattr(interruption_module.os, "_exit", sys.exit)
    handler.start_command("give the same command again")
    with pytest.raises(Interruption):
        signal.raise_signal(signal.SIGINT)
    assert handler.status(failed=1) == 130
    with pytest.raises(SystemExit, match="130"):  # a second one ends the process at once
        signal.raise_signal(signal.SIGINT)
    assert capsys.readouterr().err == "mmie: interrupted, give the same command again\n"


def test_the_line_names_the_signal_and_the_commands_own_advice(handler, capsys):
    assert handler.status(failed=1) == 1
    assert handler.report(signal.SIGTERM, "own advice") == 143
    assert capsys.readouterr().err == "mmie: ended by SIGTERM, own advice\n"


def test_processes_other_than_the_first_of_a_run_say_nothing(handler, capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert handler.report(signal.SIGINT) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_an_interrupt_in_a_destructor_is_not_lost():
    completed = subprocess.run(
        [sys.executable, "-c", IN_DESTRUCTOR], capture_output=True, text=True, timeout=20
    )
    assert (completed.stdout, completed.stderr) == ("raised again\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0, 1])
def test_an_interrupt_while_a_fit_starts_is_one_line(demo_root, tmp_path, delay):
    process = start(["fit", *tiny_options("hvpnet", demo_root, tmp_path / "run")])
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.status == 130
    assert outcome.err == "mmie: interrupted, the same command goes on\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_interrupted_extraction_goes_on(random_pair, tmp_path):
    posts = [{"id": str(number), "text": "Jordan lands in Rome"} for number in range(4000)]
    write_jsonl(tmp_path / "posts.jsonl", posts)
    ner = f"--ner={random_pair['ner']}"
    line = ["extract", tmp_path / "posts.jsonl", ner, "-o", tmp_path / "out.jsonl"]
    process = start(line)
    while process.poll() is None and not (tmp_path / "out.jsonl.progress").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert (outcome.status, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == "mmie: interrupted, the same command goes on"
    succeed(*line)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == len(posts)
