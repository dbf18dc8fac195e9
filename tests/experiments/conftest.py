import subprocess
import sys

import pytest
from helpers.paths import CONFIGS

FAKE_COMMAND = """
import json, os, pathlib, sys
options = dict(option.lstrip("-").split("=", 1) for option in sys.argv[2:])
folder = pathlib.Path(options["run_dir"])
pictures = options.get("data.pictures", "right")
print("threads", os.environ["OMP_NUM_THREADS"] or os.environ["MMIE_MAX_THREADS"])
if options.get("model.text_lr") == "bad" or (folder / f"no_{sys.argv[1]}").exists():
    sys.exit("this one fails")
file = folder / "metrics.json"
known = json.loads(file.read_text()) if file.exists() else {}
section = "test_" + pictures if "data.pictures" in options else "test"
if sys.argv[1] == "fit":
    (folder / "config.yaml").write_text("data: {pictures: " + pictures + "}")
    (folder / "last.ckpt").touch()
    (folder / "best.ckpt").touch()
    section = "fit"
file.write_text(json.dumps({**known, section: {"test/f1": 0.5}}))
"""
"""Script that writes what `mmie fit` and `mmie test` write, and fails on request."""


@pytest.fixture
def fake_command(tmp_path):
    """A command that replaces ``mmie``."""
    script = tmp_path / "mmie.py"
    script.write_text(FAKE_COMMAND)
    return [sys.executable, "-S", str(script)]


LONG_FIT = """
import os, pathlib, subprocess, sys, time
options = dict(option.lstrip("-").split("=", 1) for option in sys.argv[2:])
folder = pathlib.Path(options["run_dir"])
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
(folder / "pids.new").write_text(f"{os.getpid()} {child.pid}")
(folder / "pids.new").rename(folder / "pids")
time.sleep(600)
"""
"""Script of a fit that does not end, and has started a process of its own."""

SWEEP = """
import sys
from pathlib import Path
from mmie.experiments.sweep import plan_sweep
from mmie.experiments.sweep_runner import run_sweep
config, out, script = sys.argv[1:]
jobs = plan_sweep([config], [], "3", Path(out))
run_sweep(jobs, 2, command=[sys.executable, "-S", script])
"""
"""Script of a sweep of three runs, two at a time."""


@pytest.fixture
def start_long_sweep(tmp_path):
    """Function that starts a sweep whose fits do not end, in a process of its own."""
    script = tmp_path / "long.py"
    script.write_text(LONG_FIT)
    config = CONFIGS / "demo_rap.yaml"
    line = [sys.executable, "-c", SWEEP, str(config), str(tmp_path / "out"), str(script)]

    def start():
        return subprocess.Popen(line, stderr=subprocess.PIPE, text=True)

    return start
