"""``metrics.csv`` of a run."""

import pytest
from helpers.command import metrics
from helpers.fitted_runs import read_history
from lightning.pytorch.loggers import CSVLogger

from mmie.training.loggers import RunCSVLogger, named_loggers


@pytest.mark.slow
def test_the_log_has_every_epoch_once(fitted_runs):
    epochs = metrics(fitted_runs / "ner")["fit"]["epochs"]
    rows = read_history(fitted_runs / "ner")
    logged = [float(row["val/f1"]) for row in rows if row["val/f1"]]
    assert logged == [epoch["val/f1"] for epoch in epochs]


def test_missing_scores_of_a_killed_fit_are_taken_from_the_checkpoint(tmp_path):
    logger = RunCSVLogger(tmp_path)
    logger.log_metrics({"epoch": 0, "val/f1": 0.5}, 4)
    logger.log_metrics({"epoch": 1, "train/loss_step": 3.0}, 7)
    logger.save()
    epochs = [
        {"epoch": 0, "seconds": 1.0, "train/loss": 2.0, "train/loss_step": 1.0, "val/f1": 0.5}
    ]
    RunCSVLogger(tmp_path, 5, epochs).save()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "epoch,step,train/loss,val/f1",
        "0,4,,0.5",
        "0,4,2.0,",
    ]


def test_a_fit_that_continues_nothing_drops_the_old_rows(tmp_path):
    logger = RunCSVLogger(tmp_path)
    logger.log_metrics({"epoch": 0, "val/f1": 0.5}, 4)
    logger.save()
    logger = RunCSVLogger(tmp_path)
    logger.save()  # without rows, the old file stays
    assert len(read_history(tmp_path)) == 1
    logger.log_metrics({"epoch": 0, "val/f1": 0.25}, 4)
    logger.save()
    assert [row["val/f1"] for row in read_history(tmp_path)] == ["0.25"]


def test_loggers_of_a_configuration_become_a_list(tmp_path):
    logger = CSVLogger(tmp_path)
    assert named_loggers(logger) == [logger]
    assert named_loggers([logger, logger]) == [logger, logger]
    for setting in (None, True, False, []):
        assert named_loggers(setting) == []
