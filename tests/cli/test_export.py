"""`mmie export` writes a folder, ONNX graphs, and sends the folder to the hub."""

import re

import pytest
from helpers.command import run, succeed

from mmie.methods import TextOnly

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint(save_checkpoint):
    return save_checkpoint(TextOnly, "re")


def test_a_folder_is_written_and_sent(checkpoint, tmp_path, monkeypatch):
    calls = []

    def push(*arguments):
        calls.append(arguments)
        return "https://hub/owner/model"

    monkeypatch.setattr("mmie.cli.export.push_to_hub", push)
    out = tmp_path / "model"
    arguments = ["export", f"--checkpoint={checkpoint}", f"--out={out}"]
    output = succeed(*arguments, "--push=owner/model", "--private").out
    assert output.splitlines() == [str(out), "https://hub/owner/model"]
    assert calls == [(out, "owner/model", True)]
    assert (out / "model.safetensors").exists()
    assert not (out / "onnx").exists()


def test_graphs_are_written_and_compared(checkpoint, tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    out = tmp_path / "model"
    output = succeed("export", f"--checkpoint={checkpoint}", "-o", out, "--onnx").out
    folder, graphs = output.splitlines()
    assert folder == str(out)
    assert re.fullmatch(
        rf"{out}/onnx: scores differ from PyTorch's by at most \d\.\de[-+]\d+ of the largest score",
        graphs,
    )
    assert (out / "onnx" / "model.onnx").exists()


def test_wrong_checkpoints_and_folders_are_refused(checkpoint, tmp_path):
    outcome = run("export", f"--checkpoint={tmp_path / 'none.ckpt'}", f"--out={tmp_path / 'a'}")
    assert "does not exist" in outcome.err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    outcome = run("export", f"--checkpoint={checkpoint}", f"--out={tmp_path / 'full'}")
    assert "holds something already: remove it, or name a new folder" in outcome.err
