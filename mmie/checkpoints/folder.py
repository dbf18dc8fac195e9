"""A checkpoint as a folder of safetensors and JSON, which nothing has to unpickle.

======================  ==============================================================
file                    content
======================  ==============================================================
``model.safetensors``   weights and buffers; of tensors that share memory, one
``config.json``         the method, its arguments, the data module's state, shared names
``tokenizer.json`` ...  the tokenizer's files
``README.md``           a model card
======================  ==============================================================

``config.json`` holds the SHA-256 of the other files but the card, and one of its own content.
Folders of versions before 0.2 hold neither.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmie.checkpoints.checkpoint import (
    DATA_KEY,
    METHOD_KEY,
    WEIGHTS_KEY,
    Checkpoint,
    CheckpointError,
    describe_method,
)
from mmie.checkpoints.foreign import ForeignReference, self_contained
from mmie.runs.folder import BEST
from mmie.types import MmieError
from mmie.utils.files import digest_file, digest_values
from mmie.utils.text import describe_error, first_line
from mmie.utils.version import VERSION

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FILE_DIGESTS, CHECKSUM = "files_sha256", "sha256"
"""Keys of ``config.json``: SHA-256 of the other files by name, and of the configuration itself."""
MAX_JSON_BYTES = 100 * 2**20
"""Size of the largest JSON file that is read; large tokenizers take a fifth of it."""


def read_pretrained(
    source: str | Path,
    revision: str | None = None,
    download: Callable[..., str] = snapshot_download,
) -> Checkpoint:
    """Read a folder that `mmie.export.pretrained.save_pretrained` wrote.

    A folder may come from anyone: only JSON and safetensors files of the folder itself are read,
    and the method that they describe is built from them alone.

    Args:
        source: The folder, or the name of a repository on the Hugging Face hub.
        revision: Branch, tag or commit there.
        download: Fetches a repository's files and returns their folder.

    Raises:
        CheckpointError: No such folder or repository exists, it is damaged, or it holds something
            else.
    """
    folder = Path(source) if Path(source).is_dir() else _fetch(str(source), revision, download)
    config = _read_json(folder, CONFIG)
    try:
        _check_config(config, folder)
        description, data = config[METHOD_KEY], dict(config[DATA_KEY])
        digests = dict(config.get(FILE_DIGESTS, {}))
        names = data["tokenizer"]
        data["tokenizer"] = {name: _read_text(folder, name, digests.get(name)) for name in names}
        description["init_args"] = self_contained(description["init_args"])
        weights = _read_weights(folder, digests.get(WEIGHTS))
        for name, owner in dict(config["aliases"]).items():
            weights[name] = weights[owner]
    except ForeignReference as error:
        raise CheckpointError(f"{CONFIG} of '{folder}' has {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{CONFIG} of '{folder}' is none that mmie wrote ({describe_error(error)})"
        ) from error
    content = {METHOD_KEY: description, DATA_KEY: data, WEIGHTS_KEY: weights}
    return Checkpoint.from_content(content, source)


def write_weights(state_dict: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors. Of tensors that share memory, one is written.

    Raises:
        CheckpointError: The weights cannot be written.
        OSError: The file cannot be made.
    """
    aliases = find_aliases(state_dict)
    distinct = {
        name: tensor.contiguous() for name, tensor in state_dict.items() if name not in aliases
    }
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(distinct, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} cannot be written: {first_line(error)}") from error
    path.chmod(mode)  # safetensors would leave the file readable by its owner alone


def find_aliases(state_dict: Mapping[str, Tensor]) -> dict[str, str]:
    """Map names of tensors that share memory, such as tied embeddings, to one of the names."""
    owners: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in state_dict.items():
        if tensor.numel() == 0:
            continue
        memory = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        owner = owners.setdefault(memory, name)
        if owner != name:
            aliases[name] = owner
    return aliases


def write_config(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the tokenizer's files, and ``config.json`` with everything but the weights.

    The weights must have been written, since the configuration holds the SHA-256 of each file.

    Raises:
        CheckpointError: The checkpoint holds no state of a data module.
        ValueError: The configuration holds a value that JSON cannot express.
        TypeError: The configuration holds a value that JSON cannot express.
        OSError: A file cannot be written.
    """
    data = checkpoint.data_state().to_dict()
    tokenizer: dict[str, str] = data["tokenizer"]  # file name to content
    for name, text in tokenizer.items():
        (folder / _check_json_name(name)).write_text(text, encoding="utf-8")
    data["tokenizer"] = sorted(tokenizer)  # the configuration lists the names alone
    description = describe_method(
        checkpoint.method, checkpoint.schema, checkpoint.init_args, checkpoint.version
    )
    config = {
        "version": VERSION,
        **description,
        DATA_KEY: data,
        "aliases": find_aliases(checkpoint.state_dict),  # tensors that are stored once
        FILE_DIGESTS: {name: digest_file(folder / name) for name in (WEIGHTS, *sorted(tokenizer))},
    }
    config = json.loads(json.dumps(config, allow_nan=False))  # as it is read back
    config[CHECKSUM] = digest_values(config)
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


@contextmanager
def building(source: str | Path) -> Iterator[None]:
    """Reduce every error of building what a foreign file or folder describes to one line.

    Raises:
        CheckpointError: The method cannot be built.
        OSError: A temporary file cannot be written.
    """
    try:
        yield
    except (MmieError, OSError):
        raise
    except Exception as error:  # constructors raise whatever odd arguments lead them to
        raise CheckpointError(
            f"'{source}' describes no method that can be built ({describe_error(error)})"
        ) from error


def _fetch(name: str, revision: str | None, download: Callable[..., str]) -> Path:
    """Fetch a repository's JSON files, weights and card, without its folders.

    Raises:
        CheckpointError: The repository cannot be had.
    """
    patterns = ["*.json", WEIGHTS, CARD]
    try:
        folder = download(name, revision=revision, allow_patterns=patterns, ignore_patterns=["*/*"])
    except (OSError, ValueError) as error:
        where = f" at revision {revision}" if revision else ""
        raise CheckpointError(
            f"'{name}' is no folder here, and the hub has no such repository{where} or cannot be "
            "reached: name a folder that save_pretrained wrote"
        ) from error
    return Path(folder)


def _read_json(folder: Path, name: str) -> Any:
    """Read a JSON file of the folder.

    Raises:
        CheckpointError: The file is missing, too large or not JSON.
    """
    text = _read_text(folder, name)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{name} of '{folder}' is no JSON ({describe_error(error)})"
        ) from error


def _check_config(config: dict[str, Any], folder: Path) -> None:
    """Remove the checksum of a configuration, and raise if it is not that of the content.

    Raises:
        CheckpointError: The content has changed since it was written.
    """
    checksum = config.pop(CHECKSUM, None)
    if checksum not in (None, digest_values(config)):
        raise CheckpointError(
            f"{CONFIG} of '{folder}' is damaged or was changed: its content does not match its "
            "checksum"
        )


def _read_text(folder: Path, name: str, digest: str | None = None) -> str:
    """Read the text of a JSON file of the folder itself.

    Args:
        folder: The folder.
        name: Name of the file.
        digest: SHA-256 of the file; None if it is not known.

    Raises:
        CheckpointError: The name is a path, or the file is missing, too large, damaged or not
            UTF-8.
    """
    path = folder / _check_json_name(name)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(
                f"{name} of '{folder}' has more than {MAX_JSON_BYTES} bytes: it is no file of mmie"
            )
        content = path.read_bytes()
        _check_digest(folder, name, hashlib.sha256(content).hexdigest(), digest)
        return content.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{name} of '{folder}' is no JSON ({describe_error(error)})"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"'{folder}' holds no {name}: expected a run folder with its {BEST}, or a folder that "
            "save_pretrained wrote"
        ) from error


def _check_json_name(name: str) -> str:
    """Return a name unchanged if it is that of a JSON file. A path could lead out of the folder.

    Raises:
        CheckpointError: The name is a path, or does not end in ``.json``.
    """
    is_plain = isinstance(name, str) and name == Path(name).name and "\\" not in name
    if not (is_plain and name.endswith(".json")):
        raise CheckpointError(
            f"{name!r} is not the name of a JSON file in the folder: the folder was not written by "
            "mmie"
        )
    return name


def _read_weights(folder: Path, digest: str | None) -> dict[str, Tensor]:
    """Load all tensors on the CPU.

    Args:
        folder: The folder.
        digest: SHA-256 of the file; None for a folder of versions before 0.2, which lacks it.

    Raises:
        CheckpointError: The weights are missing or damaged.
    """
    try:
        _check_digest(folder, WEIGHTS, digest_file(folder / WEIGHTS), digest)
        return load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"'{folder}' holds no {WEIGHTS} that can be read ({describe_error(error)})"
        ) from error


def _check_digest(folder: Path, name: str, digest: str, recorded: str | None) -> None:
    """Raise if a file of the folder is not the one that the configuration records.

    Args:
        folder: The folder.
        name: Name of the file.
        digest: SHA-256 of the file.
        recorded: SHA-256 in the configuration; None in a folder of versions before 0.2.

    Raises:
        CheckpointError: The digests differ.
    """
    if recorded not in (None, digest):
        raise CheckpointError(
            f"{name} of '{folder}' is damaged, or belongs to another folder: its digest is not the "
            f"one in {CONFIG}"
        )
