"""Names in the run folder, and whether one is free for a fit."""

from pathlib import Path

from mmie.types import MmieError

CONFIG, METRICS, HISTORY = "config.yaml", "metrics.json", "metrics.csv"
BEST, LAST = "best.ckpt", "last.ckpt"
PREDICTIONS, UNSCORED = "predictions.jsonl", "unscored.jsonl"
WANDB_ID = "wandb_id.txt"
MLFLOW_ID = "mlflow_id.txt"
DIAGNOSIS = "diagnosis.html"


class RunError(MmieError, ValueError):
    """A folder that holds no run, one that was not tested yet, or one that is damaged."""


class RunFolderError(MmieError, RuntimeError):
    """A run folder that already holds what would be overwritten, or lacks what is asked for."""


def check_free(folder: Path, overwrite: bool, checkpoint: str | None = None) -> None:
    """Raise if a fit would overwrite another one.

    Args:
        folder: Run folder of the fit.
        overwrite: Whether another fit may be overwritten.
        checkpoint: The checkpoint that the fit continues. One in the folder continues its own fit.

    Raises:
        RunFolderError: The folder holds another fit and ``overwrite`` is false, or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"run_dir {folder} is a file: name a folder")
    if (folder / LAST).exists() and not overwrite and not lies_in(checkpoint, folder):
        raise RunFolderError(
            f"{folder} holds a run already: choose another --run_dir, continue it with "
            f"--ckpt_path {folder / LAST}, or give --overwrite true"
        )


def own_checkpoint(folder: Path, name: str) -> str:
    """Return the path of a run folder's checkpoint ``best`` or ``last``.

    Raises:
        RunFolderError: The folder has no such checkpoint.
    """
    path = folder / f"{name}.ckpt"
    if not path.exists():
        raise RunFolderError(
            f"{path} does not exist: no epoch of a fit has ended there; fit without --ckpt_path"
        )
    return str(path)


def best_checkpoint(folder: Path) -> Path:
    """Return the path of the checkpoint that scored best in validation.

    Raises:
        RunFolderError: The folder has no such checkpoint.
    """
    path = folder / BEST
    if not path.exists():
        way_out = _without_best(folder) or "fit first, or name a checkpoint with --ckpt_path"
        raise RunFolderError(f"{path} does not exist: {way_out}")
    return path


def find_checkpoint(source: str | Path) -> str | Path:
    """Return the best checkpoint of a run folder, and any other source unchanged.

    Args:
        source: A run folder, or what else names a checkpoint: a file, or an exported folder.

    Raises:
        RunFolderError: The folder is that of a run, but has no best checkpoint.
    """
    folder = Path(source)
    if (folder / BEST).exists():
        return folder / BEST
    if any((folder / name).exists() for name in (CONFIG, METRICS, LAST)):
        way_out = _without_best(folder) or "fit first, or name a checkpoint"
        raise RunFolderError(f"{folder} holds no {BEST}: {way_out}")
    return source


def _without_best(folder: Path) -> str:
    """Say why a fit may have left no best checkpoint, or return "" if nothing was fitted."""
    if not (folder / LAST).exists():
        return ""
    return (
        "it was removed, or no epoch of the fit was validated (trainer.limit_val_batches, "
        f"trainer.check_val_every_n_epoch): name {folder / LAST} by --ckpt_path, or fit again"
    )


def find_config(folder: Path) -> Path:
    """Return the path of a run folder's configuration.

    Raises:
        RunFolderError: The folder is missing, or has no configuration.
    """
    if not folder.is_dir():
        raise RunFolderError(f"there is no folder {folder}: expected a run folder of mmie fit")
    path = folder / CONFIG
    if not path.exists():
        raise RunFolderError(f"{folder} holds no {CONFIG}: expected a run folder of mmie fit")
    return path


def run_folder_of(source: str | Path) -> Path:
    """Return the run folder of a checkpoint, which may be named by the folder itself."""
    path = Path(source)
    return path if path.is_dir() else path.parent


def lies_in(checkpoint: str | Path | None, folder: Path) -> bool:
    """Tell whether a checkpoint is one of a run folder's own."""
    return checkpoint is not None and Path(checkpoint).resolve().parent == folder.resolve()


def prediction_files(folder: Path) -> list[Path]:
    """List a run folder's files of predictions, those of the main test first."""
    files = [*folder.glob("predictions*.jsonl"), *folder.glob("unscored*.jsonl")]
    return sorted(files, key=lambda file: (file.name != PREDICTIONS, file.name))


def clear_run(folder: Path, continued: bool) -> None:
    """Remove files that an earlier fit left and a new one makes untrue, and files half written.

    ``metrics.json`` stays: the new fit replaces it.

    Args:
        folder: The run folder.
        continued: Whether the new fit continues the earlier one, whose checkpoints stay.
    """
    outdated = [*prediction_files(folder), *folder.glob(".*.partial*"), folder / DIAGNOSIS]
    if not continued:
        outdated += [folder / name for name in (LAST, BEST, WANDB_ID, MLFLOW_ID)]
    for file in outdated:
        file.unlink(missing_ok=True)
