"""Export of a checkpoint as a folder to pass on, and its upload to the Hugging Face hub.

`mmie.checkpoints.folder` describes the folder and reads it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi

from mmie.checkpoints import CheckpointError, read_checkpoint, read_pretrained
from mmie.checkpoints.folder import CARD, WEIGHTS, write_config, write_weights
from mmie.export.model_card import write_card
from mmie.methods.loading import build_method
from mmie.runs.folder import find_checkpoint
from mmie.types import MmieError
from mmie.utils.files import atomic_folder
from mmie.utils.text import describe_error
from mmie.utils.version import VERSION

_ONNX_FILES = ("*.onnx", "*.onnx.data")


class SharingError(MmieError, RuntimeError):
    """A folder that cannot be written or sent."""


def save_pretrained(checkpoint: str | Path, folder: str | Path) -> Path:
    """Write a checkpoint's method, labels, tokenizer and model card to a new folder, atomically.

    Args:
        checkpoint: File that `mmie fit` wrote, or its run folder; the model card quotes the run
            folder.
        folder: Where to write.

    Returns:
        The folder.

    Raises:
        CheckpointError: The file is no checkpoint of a fit, or its method is not known here.
        SharingError: The folder is not empty, or the checkpoint holds what JSON cannot.
    """
    folder, checkpoint = Path(folder), find_checkpoint(checkpoint)
    content = read_checkpoint(checkpoint)
    content.data_state()  # fails before the method is built
    method = build_method(content)
    with new_folder(folder) as temporary:
        write_weights(content.state_dict, temporary / WEIGHTS)
        try:
            write_config(content, temporary)
        except (TypeError, ValueError) as error:
            if isinstance(error, MmieError):
                raise
            raise SharingError(
                f"the checkpoint's description does not fit into JSON: {describe_error(error)}"
            ) from error
        write_card(method, Path(checkpoint), temporary / CARD, folder.name)
    return folder


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Provide a temporary folder that becomes ``folder`` on success and is removed on failure.

    Raises:
        SharingError: ``folder`` is a file, or a folder that is not empty.
    """
    try:
        with atomic_folder(folder) as temporary:
            yield temporary
    except FileExistsError as error:
        raise SharingError(f"{error}: remove it, or name a new folder") from error


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    private: bool = False,
    token: str | None = None,
    api: HfApi | None = None,
) -> str:
    """Send a folder that `save_pretrained` wrote to the Hugging Face hub.

    Args:
        folder: The folder; ONNX files below it go along, other foreign files do not.
        repo_id: ``owner/name``; the repository is created if there is none.
        private: Whether a new repository is private.
        token: Of the hub; None takes the one that ``hf auth login`` left.
        api: The hub.

    Returns:
        The repository's address.

    Raises:
        CheckpointError: The folder is none that `save_pretrained` wrote.
        SharingError: The hub cannot be reached or refuses.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"'{folder}' is no folder: write one with save_pretrained first")
    read_pretrained(folder)
    api = api or HfApi(token=token)
    try:
        repository = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=["*.json", WEIGHTS, CARD, "*/" + CARD, *_ONNX_FILES],
            commit_message=f"Model of mmie {VERSION}",
        )
    except (OSError, ValueError) as error:
        raise SharingError(
            f"'{folder}' cannot be sent to '{repo_id}' ({describe_error(error)}): "
            "see `hf auth login`"
        ) from error
    return str(repository)
