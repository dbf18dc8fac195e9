"""The callback that writes a run's configuration."""

from pathlib import Path

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from mmie.runs.folder import CONFIG
from mmie.runs.metrics import update_metrics
from mmie.runs.settings import SETTINGS, flatten_settings
from mmie.training.trainers import is_writer
from mmie.utils.files import atomic_write_text


class SaveRunConfig(SaveConfigCallback):
    """Writes the whole configuration to the run folder and hands it to the loggers.

    A fit writes it when training starts, so that a run that is to be overwritten stays what it is
    until then. A test keeps the fit's configuration.
    """

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hand the configuration to the loggers. Without a fit, write it if there is none."""
        path = Path(trainer.default_root_dir) / CONFIG
        if stage != "fit" and not path.exists():
            atomic_write_text(path, self._lasting_text())
        text = self._lasting_text() if stage == "fit" else path.read_text(encoding="utf-8")
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(text))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``config.yaml``, and its settings into the record of the run."""
        if is_writer(trainer):
            folder, text = Path(trainer.default_root_dir), self._lasting_text()
            atomic_write_text(folder / CONFIG, text)
            update_metrics(folder, SETTINGS, flatten_settings(yaml.safe_load(text)))

    def _lasting_text(self) -> str:
        """Dump the configuration without what holds for this one call only."""
        lasting = self.config.clone()
        lasting["ckpt_path"] = None
        lasting["overwrite"] = False
        text: str = self.parser.dump(lasting, skip_unset=False)
        return text
