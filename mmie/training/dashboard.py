"""The callback that shows a run in Weights & Biases: fit, test scores and predictions."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mmie.runs.folder import WANDB_ID
from mmie.runs.metrics import CORPUS_NOTE, read_metrics, with_prefix
from mmie.runs.picture_tests import picture_suffix, predictions_file
from mmie.training.trainers import pictures_of
from mmie.training.wandb_logger import RunFolderWandbLogger, wandb_warns


class Dashboard(Callback):
    """Fills the W&B run of a trainer that has one.

    The callback follows those that write the run folder. Scores are named as in ``metrics.json``:
    ``test/f1``, ``test_shuffled/f1``, ``validate/f1``, ``best/val/f1``.

    Args:
        prediction_media: Returns charts and tables by name, given a file of predictions.
    """

    def __init__(self, prediction_media: Callable[[Path], Mapping[str, Any]]) -> None:
        self.prediction_media = prediction_media

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the W&B run's id in the run folder."""
        _record_run_id(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the W&B run's id for a validation that is no part of a fit."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            _record_run_id(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the W&B run's id in the run folder."""
        _record_run_id(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the best epoch and the costs of the fit."""
        fit = read_metrics(Path(trainer.default_root_dir)).get("fit", {})
        values = {f"best/{name}": value for name, value in fit.get("best", {}).items()}
        for name, value in fit.items():
            if isinstance(value, int | float):
                values[f"fit/{name}"] = value
        _update_summary(trainer, values)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the scores of a validation that is no part of a fit."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            _update_summary(trainer, _section_scores(trainer, "validate", "val/"))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the scores, and charts and tables of the predictions."""
        folder, logger = Path(trainer.default_root_dir), _wandb_logger(trainer)
        suffix = picture_suffix(folder, pictures_of(trainer))
        _update_summary(trainer, _section_scores(trainer, f"test{suffix}", "test/"))
        if logger is not None:
            with wandb_warns():
                media = self.prediction_media(predictions_file(folder, suffix))
                named = {f"test{suffix}/{name}": medium for name, medium in media.items()}
                logger.experiment.log(named)


def _wandb_logger(trainer: Trainer) -> RunFolderWandbLogger | None:
    """Return the logger of the W&B run.

    There is none without W&B, on processes but the first, and in a ``fast_dev_run``.
    """
    loggers = trainer.loggers if trainer.is_global_zero else []
    for logger in loggers:
        if isinstance(logger, RunFolderWandbLogger):
            return logger
    return None


def _record_run_id(trainer: Trainer) -> None:
    """Write the id of the W&B run into the run folder, unless the run keeps nothing."""
    logger = _wandb_logger(trainer)
    if logger is not None and not logger.experiment.disabled:
        file = Path(trainer.default_root_dir) / WANDB_ID
        file.write_text(f"{logger.experiment.id}\n", encoding="utf-8")


def _section_scores(trainer: Trainer, section: str, prefix: str) -> dict[str, Any]:
    """Return the scores in a section of ``metrics.json``, named ``section/score``.

    The note of the corpus, if there is one, stands beside them.
    """
    values = read_metrics(Path(trainer.default_root_dir)).get(section, {})
    scores = with_prefix(values, prefix)
    named = {f"{section}/{name.removeprefix(prefix)}": value for name, value in scores.items()}
    if CORPUS_NOTE in values:
        named[CORPUS_NOTE] = values[CORPUS_NOTE]
    return named


def _update_summary(trainer: Trainer, values: Mapping[str, Any]) -> None:
    """Add values to the summary of the W&B run, if there is one."""
    logger = _wandb_logger(trainer)
    if logger is not None:
        with wandb_warns():
            logger.experiment.summary.update(values)
