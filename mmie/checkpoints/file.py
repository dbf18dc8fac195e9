"""Reading of checkpoint files (``.ckpt``)."""

import errno
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from mmie.checkpoints.checkpoint import Checkpoint, CheckpointError
from mmie.checkpoints.folder import read_pretrained
from mmie.runs.checkpoint_digests import recorded_digests
from mmie.runs.folder import find_checkpoint
from mmie.utils.files import digest_file
from mmie.utils.text import describe_os_error


def read_checkpoint(source: str | Path, revision: str | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        source: A checkpoint file, a run folder, whose best checkpoint is read, or a folder that
            `mmie.export.pretrained.save_pretrained` wrote.
        revision: Branch, tag or commit, where the source is a repository on the hub.

    Raises:
        CheckpointError: The source is none of these, is damaged, or is not of this package.
        RunFolderError: The source is a run folder without a best checkpoint.
    """
    source = find_checkpoint(source)
    if Path(source).is_dir():
        return read_pretrained(source, revision)
    return Checkpoint.from_content(read_checkpoint_file(source), source)


def read_checkpoint_file(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint file on the CPU, with ``weights_only=True``, and check its bytes.

    Raises:
        CheckpointError: The file does not exist, cannot be read, is damaged, is not the one that
            its run folder records, or holds more than plain values and tensors.
        RunError: ``metrics.json`` beside it is damaged.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"checkpoint '{path}' does not exist")
    content: dict[str, Any] = {}
    failure: Exception | None = None
    with ThreadPoolExecutor(1) as pool:  # the digest takes about as long as the loading
        check = pool.submit(check_checkpoint_file, Path(path))
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever the bytes of a foreign file lead it to
            failure = error
    try:
        check.result()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint '{path}' cannot be read: {describe_os_error(error)}"
        ) from error
    if failure is not None:
        raise CheckpointError(
            f"'{path}' is no checkpoint, or holds more than plain values and tensors"
        ) from failure
    return content


def check_checkpoint_file(path: Path) -> None:
    """Raise if the bytes of a checkpoint file are not those that were written.

    The SHA-256 that its run folder records decides. Without a record, the checksums of the zip
    archive that torch writes do.

    Raises:
        CheckpointError: The file is damaged, or is not the one that its run folder records.
        RunError: ``metrics.json`` beside it is damaged.
        OSError: The file cannot be read.
    """
    digests = recorded_digests(path)
    if digest_file(path) in digests:
        return
    if _is_damaged(path):
        raise CheckpointError(f"checkpoint '{path}' is damaged: its checksums do not match")
    if digests:
        raise CheckpointError(
            f"checkpoint '{path}' is not the one that its run wrote: the digest in metrics.json is "
            "another one. Move it to another folder to use it"
        )


def _is_damaged(path: Path) -> bool:
    """Tell whether the checksum of a part of a zip archive is wrong. Other files have none."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is not None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a damaged directory leads to a place before the file
            raise
        return True
    except Exception:  # zipfile raises whatever the damage leads it to
        return True
