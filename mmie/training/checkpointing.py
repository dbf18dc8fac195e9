"""Which checkpoints a fit keeps, the best in validation and the last, and whether one fits what is to run."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from mmie.files import write_whole
from mmie.methods import ExtractionModule
from mmie.methods.transfer import full_name
from mmie.training.run_folder import lies_in
from mmie.types import MmieError


class CheckpointMismatch(MmieError, ValueError):
    """A checkpoint of another method, task or set of labels than what is to run."""


def check_fits(checkpoint: dict[str, Any], module: ExtractionModule) -> None:
    """Refuse a checkpoint of another method or other labels, whose weights would not fit or mean something else.

    Raises:
        CheckpointMismatch: It is one.
    """
    theirs = {**checkpoint["mmie"]["schema"], "method": checkpoint["mmie"]["method"]}
    ours = {**asdict(module.schema), "method": full_name(type(module))}
    for name in ("method", "task", "labels", "tag_scheme", "vocab_size"):
        if theirs[name] != ours[name]:
            raise CheckpointMismatch(f"the checkpoint was trained with {name} {theirs[name]}, the run has {ours[name]}")


def build_checkpoints(run_dir: Path, monitor: str, mode: str) -> list[ModelCheckpoint]:
    """``best.ckpt`` and ``last.ckpt``; Lightning's ``save_last`` would write the latter for a new best one only.

    The last one is of the end of an epoch, wherever in it validation runs: a fit cannot go on in the midst of one.

    Args:
        run_dir: Where they go.
        monitor: The logged value that tells the best epoch.
        mode: ``min`` or ``max``: which of it is best.
    """
    best = FolderCheckpoint(run_dir, "best", monitor=monitor, mode=mode, enable_version_counter=False)
    return [best, FolderCheckpoint(run_dir, "last", enable_version_counter=False, save_on_train_epoch_end=True)]


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, has the disk hold it, and renames it: a kill leaves the one before.

    Lightning writes to the folder for temporary files, and where that is on another disk, it then copies.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401  (Lightning's own type says no more)
    ) -> None:
        """Write a checkpoint to a local file; elsewhere as Lightning does."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            write_whole(Path(path), lambda file: _save(checkpoint, file))


def _save(checkpoint: dict[str, Any], file: Path) -> None:
    """Write a checkpoint and wait until the disk holds it."""
    with file.open("wb") as stream:
        torch.save(checkpoint, stream)
        stream.flush()
        os.fsync(stream.fileno())


class FolderCheckpoint(ModelCheckpoint):
    """Lightning's, but a fit that goes on in its folder knows its best score though the folder was moved since."""

    _goes_on = False

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look whether the checkpoint that is being loaded lies in the folder."""
        self._goes_on = lies_in(trainer.ckpt_path, Path(str(self.dirpath)))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best score, with the paths as they are now; another folder's best one stays behind."""
        super().load_state_dict(self._moved(state_dict) if self._goes_on else {**state_dict, "best_model_path": ""})

    def _moved(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state with every path in today's folder."""
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        paths = {name: self._here(state[name]) for name in names}
        kept = {self._here(path): score for path, score in state["best_k_models"].items()}
        return {**state, **paths, "best_k_models": kept, "dirpath": self.dirpath}

    def _here(self, path: str) -> str:
        """The path of a file's name in today's folder; no path stays none."""
        return str(Path(str(self.dirpath)) / Path(path).name) if path else path
