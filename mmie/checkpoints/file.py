"""Reading of checkpoint files (``.ckpt``)."""

from pathlib import Path
from typing import Any

import torch

from mmie.checkpoints.checkpoint import Checkpoint, CheckpointError
from mmie.checkpoints.folder import read_pretrained


def read_checkpoint(source: str | Path, revision: str | None = None) -> Checkpoint:
    """Read a checkpoint file, or a folder that `mmie.export.pretrained.save_pretrained` wrote.

    Args:
        source: The file or the folder.
        revision: Branch, tag or commit, where the source is a repository on the hub.

    Raises:
        CheckpointError: The source is neither, or is not of this package.
    """
    if Path(source).is_dir():
        return read_pretrained(source, revision)
    return Checkpoint.from_content(read_checkpoint_file(source), source)


def read_checkpoint_file(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint file on the CPU, with ``weights_only=True``.

    Raises:
        CheckpointError: The file does not exist, or holds more than plain values and tensors.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"checkpoint '{path}' does not exist")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes of a foreign file lead it to
        raise CheckpointError(
            f"'{path}' is no checkpoint, or holds more than plain values and tensors"
        ) from error
    return content
