"""Commands on a full disk: one line with the path and a way out, and nothing half-written."""

import tempfile
from pathlib import Path

import pytest
from helpers.command import run, succeed
from helpers.faults import largest_file
from helpers.fitted_runs import fit_options

pytestmark = pytest.mark.slow


@pytest.fixture
def tested_run(fitted_run, demo_root):
    """A run folder that was tested."""
    succeed("test", *fit_options(demo_root, fitted_run))
    return fitted_run


def names(folder):
    """Return the files below a folder with their sizes."""
    files = (file for file in Path(folder).rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.stat().st_size for file in files}


OTHER_FILES = (tempfile.gettempdir(), "model.safetensors")
"""Folder of temporary files and caches, and a file of an exported folder that is named alone."""


def check_full(outcome, path):
    """Check that a command failed with one line that names a path and a way out."""
    lines = [line for line in outcome.err.splitlines() if line.startswith("mmie: ")]
    assert outcome.status in (1, 2), outcome.err
    assert len(lines) == 1, outcome.err
    assert "Traceback" not in outcome.err
    assert any(str(named) in lines[0] for named in (path, *OTHER_FILES)), outcome.err
    reasons = ("File too large", "Truncated File Read")  # the latter is Pillow's
    assert any(reason in lines[0] for reason in reasons), outcome.err


@pytest.mark.parametrize("size", [0, 1_000, 100_000])
def test_a_fit_on_a_full_disk(demo_root, tmp_path, size):
    with largest_file(size):
        outcome = run("fit", *fit_options(demo_root, tmp_path / "run"), "--feature_store=null")
    check_full(outcome, tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.ckpt"))
    succeed("fit", *fit_options(demo_root, tmp_path / "run"), "--feature_store=null")


@pytest.mark.parametrize("size", [0, 1_000])
def test_a_test_on_a_full_disk_keeps_the_earlier_one(tested_run, demo_root, size):
    before = {file.name: file.read_bytes() for file in tested_run.iterdir() if file.is_file()}
    with largest_file(size):
        outcome = run("test", *fit_options(demo_root, tested_run), "--seed_everything=5")
    check_full(outcome, tested_run)
    after = {file.name: file.read_bytes() for file in tested_run.iterdir() if file.is_file()}
    assert {name: after.get(name) for name in before} == before
    assert not list(tested_run.glob(".*partial*"))


@pytest.mark.parametrize("size", [0, 10])
@pytest.mark.parametrize(
    ("command", "target"),
    [
        ("compare {run} --out={target}", "report"),
        ("diagnose --checkpoint={run}/best.ckpt --out={target}", "page.html"),
        ("convert {run}/predictions.jsonl --out={target}", "triples.csv"),
        ("extract {corpus}/test.jsonl --ner={run}/best.ckpt --out={target}", "found.jsonl"),
        ("export --checkpoint={run}/best.ckpt --out={target}", "model"),
        ("export --checkpoint={run}/best.ckpt --out={target} --onnx", "model"),
        ("corpus demo --root={target} --train=4 --valid=4 --test=4", "demo"),
        (
            "ground --corpus=JsonlCorpus --corpus.root={corpus} --split=test --detector=center "
            "--out={target}",
            "crops",
        ),
    ],
)
def test_an_output_on_a_full_disk(tested_run, demo_root, tmp_path, command, target, size):
    folder = tmp_path / "out"
    folder.mkdir()
    line = command.format(run=tested_run, corpus=demo_root, target=folder / target)
    with largest_file(size):
        outcome = run(*line.split())
    check_full(outcome, folder / target)
    whole = {name for name in names(folder) if not Path(name).name.startswith(".")}
    assert not [name for name in whole if name.endswith((".html", ".csv", ".json", ".safetensors"))]


def test_a_sweep_on_a_full_disk(demo_root, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("{}")
    with largest_file(0):
        outcome = run("sweep", config, "--seeds=1", f"--out={tmp_path / 'sweep'}")
    check_full(outcome, tmp_path / "sweep")


def test_a_folder_that_is_no_folder(tested_run, demo_root, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for command in ("fit", "test"):
        checkpoint = [] if command == "fit" else [f"--ckpt_path={tested_run / 'best.ckpt'}"]
        outcome = run(command, *fit_options(demo_root, file / "run"), *checkpoint)
        assert (outcome.status, outcome.err.count("\n")) == (1, 1)
        assert "Not a directory" in outcome.err
    outcome = run("compare", tested_run, f"--out={file / 'report'}")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "Not a directory" in outcome.err
