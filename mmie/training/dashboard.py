"""What a run folder holds, shown in its W&B run: the fit's outcome, scores of tests, and what the answers look like."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mmie.training.picture_tests import picture_suffix, pictures_of
from mmie.training.run_folder import PREDICTIONS, read_metrics
from mmie.training.wandb_logger import RUN_ID, RunFolderWandbLogger, wandb_warns


class Dashboard(Callback):
    """Fills the W&B run of a trainer that has one; it comes after the callbacks that write the run folder.

    Every score is named as in ``metrics.json``: ``test/f1``, ``test_shuffled/f1``, ``validate/f1``, ``best/val/f1``.

    Args:
        show_answers: Charts and tables by name, of a file of predictions.
    """

    def __init__(self, show_predictions: Callable[[Path], Mapping[str, Any]]) -> None:
        self.show_predictions = show_predictions

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note in the run folder which W&B run belongs to it."""
        _keep_run_id(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note it, if this validation is no part of a fit."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            _keep_run_id(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note in the run folder which W&B run belongs to it."""
        _keep_run_id(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the best epoch and what the fit took."""
        fit = read_metrics(Path(trainer.default_root_dir)).get("fit", {})
        best = {f"best/{name}": value for name, value in fit.get("best", {}).items()}
        sizes = {
            f"fit/{name}": value for name, value in fit.items() if isinstance(value, int | float)
        }
        _summarise(trainer, {**best, **sizes})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the scores of a validation that is no part of a fit."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            _summarise(trainer, _scores(trainer, "validate", "val/"))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the scores, and charts and tables of the answers."""
        folder, logger = Path(trainer.default_root_dir), _logger_of(trainer)
        suffix = picture_suffix(folder, pictures_of(trainer))
        _summarise(trainer, _scores(trainer, f"test{suffix}", "test/"))
        if logger is not None:
            predictions = (folder / PREDICTIONS).with_stem(f"{Path(PREDICTIONS).stem}{suffix}")
            with wandb_warns():
                shown = self.show_predictions(predictions)
                logger.experiment.log(
                    {f"test{suffix}/{name}": value for name, value in shown.items()}
                )


def _logger_of(trainer: Trainer) -> RunFolderWandbLogger | None:
    """The logger of the W&B run; None without one, on processes but the first, and in a ``fast_dev_run``."""
    loggers = trainer.loggers if trainer.is_global_zero else []
    return next((logger for logger in loggers if isinstance(logger, RunFolderWandbLogger)), None)


def _keep_run_id(trainer: Trainer) -> None:
    """Write the id of the W&B run into the run folder; one that keeps nothing cannot be continued."""
    logger = _logger_of(trainer)
    if logger is not None and not logger.experiment.disabled:
        (Path(trainer.default_root_dir) / RUN_ID).write_text(
            f"{logger.experiment.id}\n", encoding="utf-8"
        )


def _scores(trainer: Trainer, section: str, prefix: str) -> dict[str, float]:
    """Scores in a section of ``metrics.json``, by names that start with the section's."""
    known = read_metrics(Path(trainer.default_root_dir)).get(section, {})
    return {
        f"{section}/{name.removeprefix(prefix)}": known[name]
        for name in known
        if name.startswith(prefix)
    }


def _summarise(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Add values to the summary of the W&B run, if there is one."""
    logger = _logger_of(trainer)
    if logger is not None:
        with wandb_warns():
            logger.experiment.summary.update(values)
