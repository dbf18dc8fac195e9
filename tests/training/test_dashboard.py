"""Scores, costs and predictions in the W&B run of a run folder."""

import shutil
from types import SimpleNamespace

import pytest
from helpers.command import gold, metrics, predictions, read_jsonl
from helpers.wandb_runs import read_wandb_runs, run_summary, run_table
from PIL import Image

from mmie.training.dashboard import Dashboard
from mmie.training.wandb_logger import build_wandb_logger
from mmie.training.wandb_settings import WandbSettings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("_own_wandb_folders")]


def test_the_summary_has_the_best_epoch_and_the_costs(wandb_run_dir):
    summary = run_summary(read_wandb_runs(wandb_run_dir)[0])
    fit = metrics(wandb_run_dir)["fit"]
    assert summary["best/val/f1"] == pytest.approx(fit["best"]["val/f1"])
    assert summary["fit/parameters"] == fit["parameters"]


def test_scores_of_other_pictures_have_names_of_their_own(wandb_run_dir):
    _, right, shuffled = map(run_summary, read_wandb_runs(wandb_run_dir))
    sections = metrics(wandb_run_dir)
    values = sections["test"].items()
    expected = {name: value for name, value in values if name.startswith("test/")}
    assert expected
    assert {name: right[name] for name in expected} == pytest.approx(expected)
    assert shuffled["test_shuffled/f1"] == pytest.approx(sections["test_shuffled"]["test/f1"])
    assert not [name for name in shuffled if name.startswith("test/")]


def test_predictions_are_shown_with_their_pictures(wandb_run_dir):
    _, right, shuffled = read_wandb_runs(wandb_run_dir)
    rows = run_table(wandb_run_dir, right, "test/predictions")
    lines = predictions(wandb_run_dir)
    assert {row["id"] for row in rows} == {line["id"] for line in lines}
    assert [row["right"] for row in rows] == sorted(row["right"] for row in rows)
    entries = [entry for record in right for entry in record.artifact.manifest.contents]
    images = [entry for entry in entries if entry.path.startswith("media/images/")]
    assert len(images) == len({line["image"] for line in lines}) > 0
    assert {Image.open(entry.local_path).format for entry in images} == {"JPEG"}
    shuffled_rows = run_table(wandb_run_dir, shuffled, "test_shuffled/predictions")
    assert len(shuffled_rows) == len(read_jsonl(wandb_run_dir / "predictions_shuffled.jsonl"))


def test_the_confusion_matrix_counts_all_gold_entities(wandb_run_dir):
    _, right, _ = read_wandb_runs(wandb_run_dir)
    cells = run_table(wandb_run_dir, right, "test/confusion_table")
    counts = [cell["nPredictions"] for cell in cells if cell["Actual"] != "nothing"]
    assert sum(counts) == sum(len(gold(line)) for line in predictions(wandb_run_dir))


def test_unreadable_predictions_become_a_warning_and_keep_the_scores(wandb_run_dir, tmp_path):
    shutil.copy(wandb_run_dir / "metrics.json", tmp_path)
    logger = build_wandb_logger(WandbSettings(), tmp_path, fitting=False)
    trainer = SimpleNamespace(
        default_root_dir=str(tmp_path), datamodule=None, is_global_zero=True, loggers=(logger,)
    )

    def fail(file):
        raise FileNotFoundError(f"{file} does not exist")

    with pytest.warns(UserWarning, match=r"predictions\.jsonl does not exist"):
        Dashboard(fail).on_test_end(trainer, None)
    logger.finalize("success")
    (records,) = read_wandb_runs(tmp_path)
    expected = metrics(wandb_run_dir)["test"]["test/f1"]
    assert run_summary(records)["test/f1"] == pytest.approx(expected)
