import sys

import pytest

FAKE_COMMAND = """
import json, os, pathlib, sys
options = dict(option.lstrip("-").split("=", 1) for option in sys.argv[2:])
folder = pathlib.Path(options["run_dir"])
pictures = options.get("data.pictures", "right")
print("threads", os.environ["OMP_NUM_THREADS"])
if options.get("model.text_lr") == "bad" or (folder / f"no_{sys.argv[1]}").exists():
    sys.exit("this one fails")
file = folder / "metrics.json"
known = json.loads(file.read_text()) if file.exists() else {}
section = "test_" + pictures if "data.pictures" in options else "test"
if sys.argv[1] == "fit":
    (folder / "config.yaml").write_text("data: {pictures: " + pictures + "}")
    (folder / "last.ckpt").touch()
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
