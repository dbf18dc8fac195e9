"""Best and last checkpoint of a fit, and fits that continue one."""

import pytest
import torch
import yaml
from helpers.command import metrics, succeed
from helpers.fitted_runs import EPOCHS, TASKS, fit_options, read_history

from mmie.training import checkpointing
from mmie.training.checkpointing import AtomicCheckpointIO


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
    assert list(sections) == ["fit"], "scores of the old best checkpoint are outdated"
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


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    file = tmp_path / "last.ckpt"
    checkpoint_io = AtomicCheckpointIO()
    checkpoint_io.save_checkpoint({"epoch": 0}, file)

    def fail(checkpoint, partial):
        partial.write_bytes(b"half of a checkpoint")
        raise OSError("no space left")

    monkeypatch.setattr(checkpointing.torch, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        checkpoint_io.save_checkpoint({"epoch": 1}, file)
    assert checkpoint_io.load_checkpoint(file) == {"epoch": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_loaded_content_is_returned_once(tmp_path):
    file = tmp_path / "last.ckpt"
    checkpoint_io = AtomicCheckpointIO({str(file): {"epoch": 7}})
    checkpoint_io.save_checkpoint({"epoch": 8}, file)
    assert checkpoint_io.load_checkpoint(file) == {"epoch": 7}
    assert checkpoint_io.load_checkpoint(file) == {"epoch": 8}
