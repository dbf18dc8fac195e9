"""``metrics.json`` of fits, validations and tests, through the command."""

from dataclasses import replace

import pytest
from helpers.command import metrics, run, succeed
from helpers.fitted_runs import EPOCHS, TASKS, fit_options, read_history

from mmie.checkpoints import CheckpointError, read_checkpoint
from mmie.data.corpora.editions import OWN_LAYOUT
from mmie.methods.loading import load_method
from mmie.training.recorder import training_progress

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("task", TASKS)
def test_a_fit_writes_its_files(fitted_runs, task):
    names = {path.name for path in (fitted_runs / task).iterdir()}
    assert names >= {"config.yaml", "metrics.json", "metrics.csv", "best.ckpt", "last.ckpt"}
    assert "predictions.jsonl" not in names
    assert not [name for name in names if name.startswith(".")]


@pytest.mark.parametrize("task", TASKS)
def test_the_fit_section_has_the_scores_and_costs(fitted_runs, task):
    fit = metrics(fitted_runs / task)["fit"]
    assert [epoch["epoch"] for epoch in fit["epochs"]] == list(range(EPOCHS))
    for epoch in fit["epochs"]:
        assert 0 < epoch["train_seconds"] < epoch["seconds"] < 60
        assert epoch["train/loss"] > 0
        assert 0 <= epoch["val/f1"] <= 1
    assert fit["best"] == max(fit["epochs"], key=lambda epoch: epoch["val/f1"])
    assert 0.01 < fit["peak_memory_gib"] < 100
    module = load_method(fitted_runs / task / "best.ckpt")
    num_parameters = sum(parameter.numel() for parameter in module.parameters())
    assert fit["parameters"] == fit["trained_parameters"] == num_parameters


def test_frozen_parameters_are_not_counted_as_trained(demo_root, tmp_path):
    succeed("fit", *fit_options(demo_root, tmp_path / "run"), "--model.freeze_text=true")
    fit = metrics(tmp_path / "run")["fit"]
    head = load_method(tmp_path / "run" / "best.ckpt").head
    num_trained = sum(parameter.numel() for parameter in head.parameters())
    assert fit["trained_parameters"] == num_trained < fit["parameters"]


def test_validate_repeats_the_scores_of_the_best_epoch(fitted_run, demo_root):
    outcome = succeed("validate", *fit_options(demo_root, fitted_run))
    sections = metrics(fitted_run)
    best = sections["fit"]["best"]
    expected = {name: value for name, value in best.items() if name.startswith("val/")}
    validated = sections["validate"].items()
    scores = {name: value for name, value in validated if name.startswith("val/")}
    assert scores == pytest.approx(expected, abs=1e-6)
    assert scores["val/f1"] == best["val/f1"]
    assert f"{100 * best['val/f1']:.2f}" in outcome.out
    assert "test" not in sections


def test_overwriting_removes_all_of_the_old_run(fitted_run, demo_root):
    succeed("test", *fit_options(demo_root, fitted_run))
    old = (fitted_run / "last.ckpt").read_bytes()
    options = fit_options(demo_root, fitted_run)
    succeed("fit", *options, "--overwrite=true", "--seed_everything=5")
    assert set(metrics(fitted_run)) == {"checkpoints", "fit", "run", "settings", "sha256"}
    assert [epoch["epoch"] for epoch in metrics(fitted_run)["fit"]["epochs"]] == [0]
    assert not (fitted_run / "predictions.jsonl").exists()
    assert {row["epoch"] for row in read_history(fitted_run)} == {"0"}
    assert (fitted_run / "last.ckpt").read_bytes() != old
    config = f"--config={fitted_run / 'config.yaml'}"
    assert run("fit", config).status != 0, "the saved configuration must not overwrite the run"


def test_a_fault_in_training_keeps_its_traceback_and_the_earlier_epochs(demo_root, tmp_path):
    options = fit_options(demo_root, tmp_path / "run")
    fault = ["--trainer.callbacks=helpers.command.StopInSecondEpoch", "--trainer.max_epochs=3"]
    with pytest.raises(RuntimeError, match="a fault in the second epoch"):
        run("fit", *options, *fault)
    assert [epoch["epoch"] for epoch in metrics(tmp_path / "run")["fit"]["epochs"]] == [0]
    succeed("fit", *options, "--ckpt_path=last", "--trainer.max_epochs=2")
    assert [epoch["epoch"] for epoch in metrics(tmp_path / "run")["fit"]["epochs"]] == [0, 1]
    first, continuation = metrics(tmp_path / "run")["run"]["commands"]
    assert "StopInSecondEpoch" in first
    assert continuation.endswith("--ckpt_path=last --trainer.max_epochs=2")


def test_epochs_without_validation_are_recorded(demo_root, tmp_path):
    every_second = ["--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=2"]
    succeed("fit", *fit_options(demo_root, tmp_path / "run"), *every_second)
    fit = metrics(tmp_path / "run")["fit"]
    assert ["val/f1" in epoch for epoch in fit["epochs"]] == [False, True]
    assert fit["best"]["epoch"] == 1


def test_a_fast_dev_run_writes_nothing(demo_root, tmp_path):
    succeed("fit", *fit_options(demo_root, tmp_path / "run"), "--trainer.fast_dev_run=true")
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_a_test_in_another_folder_writes_there_alone(fitted_runs, demo_root, tmp_path):
    checkpoint = fitted_runs / "ner" / "last.ckpt"
    folder = tmp_path / "elsewhere"
    succeed("test", *fit_options(demo_root, folder), f"--ckpt_path={checkpoint}")
    written = {path.name for path in folder.iterdir()}
    assert written == {"config.yaml", "metrics.json", "predictions.jsonl"}
    assert metrics(folder)["test"]["checkpoint"] == str(checkpoint)


def test_progress_is_read_from_the_training_state_of_a_checkpoint(fitted_run):
    checkpoint = read_checkpoint(fitted_run / "last.ckpt")
    steps, epochs = training_progress(checkpoint)
    assert epochs == metrics(fitted_run)["fit"]["epochs"]
    assert steps > 0
    for name in ("callbacks", "global_step", "optimizer_states", "loops", "lr_schedulers"):
        training = {key: value for key, value in checkpoint.training.items() if key != name}
        with pytest.raises(CheckpointError, match=f"does not fit .*{name}"):
            training_progress(replace(checkpoint, training=training))


def test_a_test_records_the_edition_of_the_corpus(demo_root, tmp_path):
    options = fit_options(demo_root, tmp_path / "run")
    succeed("fit", *options)
    succeed("test", *options)
    assert metrics(tmp_path / "run")["test"]["edition"] == OWN_LAYOUT
