"""`mmie study certificate` with a real fit."""

import json

import pytest
from helpers.command import check_refused, run, succeed
from helpers.paths import CONFIGS

pytestmark = pytest.mark.slow


def test_a_calibration_is_run_and_continued(tmp_path):
    line = [
        "study",
        "certificate",
        CONFIGS / "demo_hvpnet.yaml",
        "--shares=[0,1]",
        "--seeds=1",
        "--controls=2",
        "--epochs=1",
        "--train=16",
        "--valid=8",
        "--test=16",
        "--permutations=19",
        "--resamples=20",
        f"--out={tmp_path / 'out'}",
    ]
    outcome = succeed(*line)
    file = tmp_path / "out" / "calibration.json"
    assert outcome.out.splitlines()[-1] == str(file)
    rows = json.loads(file.read_text())
    assert [(row["share"], row["assignment"], row["runs"]) for row in rows] == [
        (0, "right", 1),
        (1, "right", 1),
        (1, "shuffled", 2),
    ]
    checkpoint = tmp_path / "out" / "share_1" / "seed_1234" / "best.ckpt"
    written = checkpoint.stat().st_mtime_ns
    succeed(*line)
    assert checkpoint.stat().st_mtime_ns == written
    assert json.loads(file.read_text()) == rows


def test_wrong_shares_are_refused(tmp_path):
    config = CONFIGS / "demo_hvpnet.yaml"
    out = f"--out={tmp_path / 'out'}"
    check_refused(run("study", "certificate", config, "--shares=[2]", out), "shares", "0 to 1")
