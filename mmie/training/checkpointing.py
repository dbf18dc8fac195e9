"""Which checkpoints a fit keeps, the best in validation and the last, and whether one fits what is to run."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from mmie.training.run_folder import lies_in
from mmie.utils.files import atomic_write


def build_checkpoints(run_dir: Path, monitor: str, mode: str) -> list[ModelCheckpoint]:
    """``best.ckpt`` and ``last.ckpt``; Lightning's ``save_last`` would write the latter for a new best one only.

    The last one is of the end of an epoch, wherever in it validation runs: a fit cannot go on in the midst of one.

    Args:
        run_dir: Where they go.
        monitor: The logged value that tells the best epoch.
        mode: ``min`` or ``max``: which of it is best.
    """
    best = FolderCheckpoint(
        run_dir, "best", monitor=monitor, mode=mode, enable_version_counter=False
    )
    return [
        best,
        FolderCheckpoint(
            run_dir, "last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
    ]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint files that are written atomically, and read once.

    Lightning writes to the folder for temporary files and copies from there if it is on another
    disk, so that a killed process can leave a part of a file.

    Args:
        loaded: Content of checkpoint files that have been read already, by path. Each is handed out
            once, in place of another reading.
    """

    def __init__(self, loaded: Mapping[str, dict[str, Any]] | None = None) -> None:
        self._loaded = dict(loaded or {})

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint to a local file; elsewhere as Lightning does."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            atomic_write(Path(path), partial(torch.save, checkpoint), durable=True)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the content of a checkpoint file."""
        content = self._loaded.pop(str(path), None)
        if content is None:
            content = super().load_checkpoint(path, *args, **kwargs)
        return content


class FolderCheckpoint(ModelCheckpoint):
    """Lightning's, but a fit that goes on in its folder knows its best score though the folder was moved since."""

    _goes_on = False

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Look whether the checkpoint that is being loaded lies in the folder."""
        self._goes_on = lies_in(trainer.ckpt_path, Path(str(self.dirpath)))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best score, with the paths as they are now; another folder's best one stays behind."""
        super().load_state_dict(
            self._moved(state_dict) if self._goes_on else {**state_dict, "best_model_path": ""}
        )

    def _moved(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state with every path in today's folder."""
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        paths = {name: self._here(state[name]) for name in names}
        kept = {self._here(path): score for path, score in state["best_k_models"].items()}
        return {**state, **paths, "best_k_models": kept, "dirpath": self.dirpath}

    def _here(self, path: str) -> str:
        """The path of a file's name in today's folder; no path stays none."""
        return str(Path(str(self.dirpath)) / Path(path).name) if path else path
