"""Best and last checkpoint of a fit, and fits that continue one."""

import os
import zipfile

import pytest
import torch
import yaml
from helpers.command import metrics, succeed
from helpers.faults import largest_file
from helpers.fitted_runs import EPOCHS, TASKS, fit_options, read_history

from mmie.runs.checkpoint_digests import record_checkpoint, recorded_digests
from mmie.training.checkpointing import AtomicCheckpointIO, build_checkpoints
from mmie.utils.files import digest_file


def validated_epochs(run_dir):
    """Read the epochs of ``metrics.csv`` that have a validation score."""
    return [int(row["epoch"]) for row in read_history(run_dir) if row["val/f1"]]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_best_and_last_are_of_the_best_and_the_last_epoch(fitted_runs, task):
    best = metrics(fitted_runs / task)["fit"]["best"]
    expected = {"best": best["epoch"], "last": EPOCHS - 1}
    for name, epoch in expected.items():
        content = torch.load(fitted_runs / task / f"{name}.ckpt", weights_only=True)
        assert content["epoch"] == epoch


@pytest.mark.slow
@pytest.mark.parametrize("name", ["last", "path"])
def test_a_fit_continues_after_its_last_epoch(fitted_run, demo_root, name):
    earlier = metrics(fitted_run)["fit"]["epochs"]
    options = fit_options(demo_root, fitted_run)
    succeed("test", *options)
    checkpoint = "last" if name == "last" else fitted_run / "last.ckpt"
    longer = f"--trainer.max_epochs={EPOCHS + 2}"
    succeed("fit", *options, f"--ckpt_path={checkpoint}", longer)
    sections = metrics(fitted_run)
    epochs = sections["fit"]["epochs"]
    assert epochs[:EPOCHS] == earlier
    assert [epoch["epoch"] for epoch in epochs] == list(range(EPOCHS + 2))
    assert validated_epochs(fitted_run) == list(range(EPOCHS + 2))
    assert set(sections) == {"checkpoints", "fit", "run", "settings", "sha256"}, (
        "scores of the old best checkpoint are outdated"
    )
    best = torch.load(fitted_run / "best.ckpt", weights_only=True)
    assert best["epoch"] == sections["fit"]["best"]["epoch"]
    assert yaml.safe_load((fitted_run / "config.yaml").read_text())["ckpt_path"] is None


@pytest.mark.slow
def test_a_fit_continues_after_its_best_epoch(fitted_run, demo_root):
    best = metrics(fitted_run)["fit"]["best"]["epoch"]
    longer = f"--trainer.max_epochs={best + 2}"
    succeed("fit", *fit_options(demo_root, fitted_run), "--ckpt_path=best", longer)
    epochs = [epoch["epoch"] for epoch in metrics(fitted_run)["fit"]["epochs"]]
    assert epochs == list(range(best + 2))
    assert validated_epochs(fitted_run) == epochs


@pytest.mark.parametrize("size", [0, 100, 10_000])
def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, size):
    file = tmp_path / "last.ckpt"
    checkpoint_io = AtomicCheckpointIO()
    checkpoint_io.save_checkpoint({"epoch": 0}, file)
    weights = torch.zeros(100_000)
    with largest_file(size), pytest.raises(OSError, match="File too large") as caught:
        checkpoint_io.save_checkpoint({"epoch": 1, "weights": weights}, file)
    assert caught.value.filename == str(file)
    assert checkpoint_io.load_checkpoint(file) == {"epoch": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_own_checkpoints_are_recorded_by_their_digest(tmp_path):
    checkpoint_io = AtomicCheckpointIO(run_dir=tmp_path)
    for epoch in range(2):
        checkpoint_io.save_checkpoint({"epoch": epoch}, tmp_path / "last.ckpt")
        assert recorded_digests(tmp_path / "last.ckpt") == [digest_file(tmp_path / "last.ckpt")]
    checkpoint_io.save_checkpoint({"epoch": 2}, tmp_path / "elsewhere" / "last.ckpt")
    assert not (tmp_path / "elsewhere" / "metrics.json").exists()


def test_the_digests_fit_at_every_moment_of_a_replacement(tmp_path, monkeypatch):
    file = tmp_path / "last.ckpt"
    checkpoint_io = AtomicCheckpointIO(run_dir=tmp_path)
    checkpoint_io.save_checkpoint({"epoch": 0}, file)
    moments = []

    def replace_between(source, target):
        moments.append(digest_file(file) in recorded_digests(file))
        os_replace(source, target)
        moments.append(digest_file(file) in recorded_digests(file))

    os_replace = os.replace
    monkeypatch.setattr(os, "replace", replace_between)
    checkpoint_io.save_checkpoint({"epoch": 1}, file)
    assert moments == [True] * 6  # two files of metrics.json and the checkpoint


def test_loaded_content_is_returned_once(tmp_path):
    file = tmp_path / "last.ckpt"
    checkpoint_io = AtomicCheckpointIO({str(file): {"epoch": 7}})
    checkpoint_io.save_checkpoint({"epoch": 8}, file)
    assert checkpoint_io.load_checkpoint(file) == {"epoch": 7}
    assert checkpoint_io.load_checkpoint(file) == {"epoch": 8}


def checkpoint_values(file):
    """Return all that a checkpoint holds besides tensors, as one text."""
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith("data.pkl")]
        return archive.read(names[0])


@pytest.mark.slow
def test_checkpoints_do_not_name_their_folder(fitted_runs):
    for name in ("best", "last"):
        file = fitted_runs / "ner" / f"{name}.ckpt"
        assert b"best.ckpt" in checkpoint_values(file)
        for part in fitted_runs.parts[1:3]:
            assert f"/{part}".encode() not in checkpoint_values(file)
        (state, _) = [
            state
            for state in torch.load(file, weights_only=True)["callbacks"].values()
            if "best_model_path" in state
        ]
        assert state["best_model_path"] == "best.ckpt"
        assert state["dirpath"] == ""


@pytest.mark.slow
def test_a_fit_continues_from_a_checkpoint_with_absolute_paths(fitted_run, demo_root):
    content = torch.load(fitted_run / "last.ckpt", weights_only=True)
    best = metrics(fitted_run)["fit"]["best"]
    for state in content["callbacks"].values():
        if "best_model_path" in state:
            name = state["best_model_path"]
            state.update(dirpath="/home/me/run", best_model_path=f"/home/me/run/{name}")
            scores = state["best_k_models"]
            state["best_k_models"] = {f"/home/me/run/{name}": scores[name] for name in scores}
    torch.save(content, fitted_run / "last.ckpt")
    record_checkpoint(fitted_run / "last.ckpt", [])  # as a version before 0.2 left it
    longer = f"--trainer.max_epochs={EPOCHS + 1}"
    succeed("fit", *fit_options(demo_root, fitted_run), "--ckpt_path=last", longer)
    assert (fitted_run / "best.ckpt").exists()
    assert (fitted_run / "last.ckpt").exists()
    assert metrics(fitted_run)["fit"]["best"]["val/f1"] >= best["val/f1"]


def test_a_state_names_nothing_but_checkpoints_of_the_folder(tmp_path):
    best, _ = build_checkpoints(tmp_path, "val/f1", "max")
    state = {**best.state_dict(), "best_k_models": {"/home/me/best.ckpt": 0.5, "..": 0.5}}
    for hostile in ("..", "a/..", "/etc", "wandb", "predictions.jsonl", ""):
        state["kth_best_model_path"] = hostile
        state["best_model_path"] = "../other/best.ckpt"
        best._continues = True
        best.load_state_dict(state)
        assert best.kth_best_model_path == ""
        assert best.best_k_models == {str(tmp_path / "best.ckpt"): 0.5}
        assert best.best_model_path == str(tmp_path / "best.ckpt")


def test_a_state_of_another_folder_names_nothing(tmp_path):
    best, _ = build_checkpoints(tmp_path, "val/f1", "max")
    before = best.state_dict()
    names = {"kth_best_model_path": "/etc", "best_model_path": "/etc", "last_model_path": "/etc"}
    best.load_state_dict(
        {**before, **names, "dirpath": str(tmp_path), "best_k_models": {"/etc": 0.5}}
    )
    assert "/etc" not in str(vars(best))
    assert best.state_dict() == before
