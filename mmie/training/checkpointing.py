"""Checkpoints that a fit writes: the best in validation, and the last."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from mmie.runs.checkpoint_digests import record_checkpoint, recorded_digests
from mmie.runs.folder import lies_in
from mmie.utils.files import atomic_write, digest_file

_PATHS_IN_STATE = ("best_model_path", "kth_best_model_path", "last_model_path")


def build_checkpoints(run_dir: Path, monitor: str, mode: str) -> list[ModelCheckpoint]:
    """Build the callbacks that write ``best.ckpt`` and ``last.ckpt``.

    Lightning's ``save_last`` would write the latter for a new best epoch only. The last checkpoint
    is written at the end of an epoch, wherever in it validation runs, since a fit cannot continue
    in the middle of one.

    Args:
        run_dir: Folder of the checkpoints.
        monitor: Logged value that tells the best epoch.
        mode: ``min`` or ``max``: which of it is best.
    """
    best = FolderCheckpoint(
        run_dir, "best", monitor=monitor, mode=mode, enable_version_counter=False
    )
    last = FolderCheckpoint(
        run_dir, "last", enable_version_counter=False, save_on_train_epoch_end=True
    )
    return [best, last]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint files that are written atomically, recorded by their digest, and read once.

    Lightning writes to the folder for temporary files and copies from there if it is on another
    disk, so that a killed process can leave a part of a file.

    Args:
        loaded: Content of checkpoint files that have been read already, by path. Each is handed out
            once, in place of another reading.
        run_dir: Folder whose ``metrics.json`` records the digests of its own checkpoints; None
            records nothing.
    """

    def __init__(
        self, loaded: Mapping[str, dict[str, Any]] | None = None, run_dir: Path | None = None
    ) -> None:
        self._loaded = dict(loaded or {})
        self.run_dir = run_dir

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint to a local file atomically, and elsewhere as Lightning does."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        file = Path(path)
        if self.run_dir is None or not lies_in(file, self.run_dir):
            atomic_write(file, partial(_save, checkpoint), durable=True)
            return
        digest = ""

        def write(temporary: Path) -> None:
            nonlocal digest
            _save(checkpoint, temporary)
            digest = digest_file(temporary)
            record_checkpoint(file, [*recorded_digests(file), digest])

        atomic_write(file, write, durable=True)
        record_checkpoint(file, [digest])

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the content of a checkpoint file."""
        content = self._loaded.pop(str(path), None)
        if content is None:
            content = super().load_checkpoint(path, *args, **kwargs)
        return content


def _save(checkpoint: dict[str, Any], file: Path) -> None:
    """Write a checkpoint through Python's file, whose errors say what happened.

    Raises:
        OSError: The file cannot be written. Torch makes another error of it.
    """
    try:
        with file.open("wb") as stream:
            torch.save(checkpoint, stream)
    except RuntimeError as error:
        cause = error.__context__
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__
        raise cause or error from None


class FolderCheckpoint(ModelCheckpoint):
    """Lightning's callback for a run folder that may be moved between two fits.

    A fit that continues in its folder takes up its best score, with the paths of today.
    """

    _continues = False

    def state_dict(self) -> dict[str, Any]:
        """Return the state with file names in place of paths, since checkpoints are passed on."""
        state = super().state_dict()
        names: dict[str, Any] = {"dirpath": "", "best_k_models": {}}
        for name in _PATHS_IN_STATE:
            names[name] = Path(state[name]).name
        for path, score in state["best_k_models"].items():
            names["best_k_models"][Path(path).name] = score
        return {**state, **names}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note whether the checkpoint that is being loaded lies in the folder."""
        self._continues = lies_in(trainer.ckpt_path, Path(str(self.dirpath)))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score, but not the best checkpoint of another folder."""
        if self._continues:
            super().load_state_dict({**state_dict, **self._current_paths(state_dict)})
        else:
            # with another folder, Lightning leaves out all other paths
            super().load_state_dict({**state_dict, "dirpath": "", "best_model_path": ""})

    def _current_paths(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the paths of a state, each in today's folder.

        Lightning deletes what they name. Anything but a checkpoint becomes an empty path.
        """

        def current(path: str) -> str:
            file = Path(str(self.dirpath)) / Path(path).name
            return str(file) if file.suffix == self.FILE_EXTENSION else ""

        paths: dict[str, Any] = {"dirpath": self.dirpath, "best_k_models": {}}
        for name in _PATHS_IN_STATE:
            paths[name] = current(state[name])
        for path, score in state["best_k_models"].items():
            if current(path):
                paths["best_k_models"][current(path)] = score
        return paths
