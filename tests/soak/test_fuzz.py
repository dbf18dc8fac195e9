"""Coverage-guided fuzzing, on machines with atheris."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import single_thread_environment

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("fuzz_readers.py")


def test_readers_and_pictures(tmp_path, rounds):
    pytest.importorskip("atheris", reason="pip install atheris")
    runs = rounds(3_000, 200_000)
    process = subprocess.run(
        [
            sys.executable,
            str(PROGRAM),
            f"-runs={runs}",
            "-seed=1",
            f"-artifact_prefix={tmp_path}/",
        ],
        capture_output=True,
        text=True,
        env=single_thread_environment(),
        cwd=tmp_path,
        check=False,
    )
    crashes = [file.read_bytes()[:200] for file in tmp_path.iterdir()]
    assert process.returncode == 0, (crashes, process.stderr[-3000:])
    assert f"Done {runs} runs" in process.stderr
