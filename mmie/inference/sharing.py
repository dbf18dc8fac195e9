"""A checkpoint as a folder that can be passed on: safetensors and JSON, nothing that is unpickled, and a model card.

A folder holds ``model.safetensors``, ``config.json``, the tokenizer's files and ``README.md``. On the Hugging Face hub
it is a model repository.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import HfApi, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmie import __version__
from mmie.inference.model_card import CARD, write_card
from mmie.methods.checkpoints import build_method
from mmie.methods.transfer import CheckpointError, read_checkpoint
from mmie.types import MmieError

WEIGHTS, CONFIG = "model.safetensors", "config.json"
MAX_JSON_BYTES = 100 * 2**20
"""Size of the largest JSON file that is read; the tokenizers of large vocabularies take a fifth of it."""

_DATA, _METHOD = "MultimodalDataModule", "mmie"
_ONNX = ("*.onnx", "*.onnx.data")
_NETWORKS = ("vision_backbone", "patch_embedding")
"""Arguments that name a network, for which a foreign folder must not make anyone fetch or open a file."""


class SharingError(MmieError, RuntimeError):
    """A folder that cannot be written or sent."""


def save_pretrained(checkpoint: str | Path, folder: str | Path) -> Path:
    """Write a checkpoint's method, labels, tokenizer and model card to a new folder, whole or not at all.

    Args:
        checkpoint: File that `mmie fit` wrote; what its run folder knows of it goes to the card.
        folder: Where to write.

    Returns:
        The folder.

    Raises:
        CheckpointError: The file is no checkpoint of a fit, or its method is not known here.
        SharingError: The folder holds something already, or the checkpoint holds what JSON cannot.
    """
    folder = Path(folder)
    content = read_content(checkpoint)
    method = build_method(content, checkpoint)
    with writing_whole(folder) as temporary:
        write_weights(content["state_dict"], temporary / WEIGHTS)
        write_config(content, temporary)
        write_card(method, Path(checkpoint), temporary / CARD, folder.name)
    return folder


def read_content(source: str | Path, revision: str | None = None) -> dict[str, Any]:
    """The content of a checkpoint file or, as `read_pretrained` reads it, of a folder.

    Raises:
        CheckpointError: It is neither, or says nothing of the data.
    """
    content = read_pretrained(source, revision) if Path(source).is_dir() else read_checkpoint(source)
    if _DATA not in content:
        raise CheckpointError(f"'{source}' says nothing of its data: it was not written by `mmie fit`")
    return content


def read_pretrained(
    source: str | Path, revision: str | None = None, download: Callable[..., str] = snapshot_download
) -> dict[str, Any]:
    """The content of a folder that `save_pretrained` wrote, as `read_checkpoint` gives that of a checkpoint.

    A folder may come from anyone: only JSON and safetensors are read, only from the folder itself, and what it
    describes is built from there alone.

    Args:
        source: The folder, or the name of a repository on the Hugging Face hub.
        revision: Branch, tag or commit there.
        download: Fetches a repository's files and gives their folder.

    Raises:
        CheckpointError: There is none, or it holds something else.
    """
    folder = Path(source) if Path(source).is_dir() else _fetch(str(source), revision, download)
    config = _read_json(folder, CONFIG)
    try:
        description, data, aliases = config[_METHOD], dict(config[_DATA]), dict(config["aliases"])
        data["tokenizer"] = {name: _read_text(folder, name) for name in data["tokenizer"]}
        description["init_args"] = _self_contained(description["init_args"])
        state = _read_weights(folder)
        state |= {name: state[kept] for name, kept in aliases.items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{CONFIG} of '{folder}' is none that mmie wrote ({_first_line(error)})") from error
    return {_METHOD: description, _DATA: data, "state_dict": state}


@contextmanager
def building(source: str | Path) -> Iterator[None]:
    """While what a foreign folder or file describes is built: whatever goes wrong is said in one line.

    Raises:
        CheckpointError: It cannot be built.
    """
    try:
        yield
    except MmieError:
        raise
    except Exception as error:  # constructors raise whatever odd arguments lead them to
        raise CheckpointError(f"'{source}' describes no method that can be built ({_first_line(error)})") from error


def push_to_hub(
    folder: str | Path, repo_id: str, private: bool = False, token: str | None = None, api: HfApi | None = None
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
            allow_patterns=["*.json", WEIGHTS, CARD, "*/" + CARD, *_ONNX],
            commit_message=f"Model of mmie {__version__}",
        )
    except (OSError, ValueError) as error:
        raise SharingError(
            f"'{folder}' cannot be sent to '{repo_id}' ({_first_line(error)}): see `hf auth login`"
        ) from error
    return str(repository)


@contextmanager
def writing_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` when all went well, and is removed when not.

    Raises:
        SharingError: ``folder`` holds something already.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SharingError(f"'{folder}' holds something already: remove it, or name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
        temporary = Path(place) / folder.name
        temporary.mkdir()
        yield temporary
        temporary.replace(folder)


def write_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write the tensors; of those that share their memory, one."""
    aliases = find_aliases(state)
    kept = {name: tensor.contiguous() for name, tensor in state.items() if name not in aliases}
    path.touch()
    mode = path.stat().st_mode
    save_file(kept, path, metadata={"format": "pt"})
    path.chmod(mode)  # else the file would be readable by its owner alone


def find_aliases(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors that are another one's memory, such as tied embeddings, and that one's name."""
    first: dict[tuple[Any, ...], str] = {}
    places = {
        name: (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        for name, tensor in state.items()
        if tensor.numel()
    }
    owners = {name: first.setdefault(place, name) for name, place in places.items()}
    return {name: owner for name, owner in owners.items() if name != owner}


def write_config(content: Mapping[str, Any], folder: Path) -> None:
    """Write all but the weights: ``config.json`` and the tokenizer's files, which it names.

    Raises:
        SharingError: There is a value that JSON cannot hold.
    """
    description, data = dict(content[_METHOD]), dict(content[_DATA])
    description["init_args"] = _without_paths(description["init_args"])
    for name, text in data["tokenizer"].items():
        (folder / _own_name(name)).write_text(text, encoding="utf-8")
    data["tokenizer"] = sorted(data["tokenizer"])
    config = {"version": __version__, _METHOD: description, _DATA: data, "aliases": find_aliases(content["state_dict"])}
    try:
        text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SharingError(f"the checkpoint's description does not fit into JSON: {_first_line(error)}") from error
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _without_paths(init_args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments without the place that the text encoder was once loaded from."""
    encoder = {name: value for name, value in init_args["text_encoder"].items() if name != "_name_or_path"}
    return {**init_args, "text_encoder": encoder}


def _fetch(name: str, revision: str | None, download: Callable[..., str]) -> Path:
    """The folder of a repository's own JSON, weights and card; what lies deeper stays there."""
    try:
        patterns = ["*.json", WEIGHTS, CARD]
        return Path(download(name, revision=revision, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except (OSError, ValueError) as error:
        where = f" at revision {revision}" if revision else ""
        raise CheckpointError(
            f"'{name}' is no folder here, and the hub has no such repository{where} or cannot be reached: "
            "name a folder that save_pretrained wrote"
        ) from error


def _read_json(folder: Path, name: str) -> Any:  # noqa: ANN401  (whatever stands there)
    """The content of a JSON file."""
    try:
        return json.loads(_read_text(folder, name))
    except (ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{name} of '{folder}' is no JSON ({_first_line(error)})") from error


def _read_text(folder: Path, name: str) -> str:
    """The text of a JSON file of the folder itself."""
    path = folder / _own_name(name)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{name} of '{folder}' has more than {MAX_JSON_BYTES} bytes: it is no file of mmie")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"'{folder}' holds no {name}: expected a folder that save_pretrained wrote") from error


def _own_name(name: str) -> str:
    """The name, if it is that of a JSON file, and not a path to one."""
    if not isinstance(name, str) or name != Path(name).name or "\\" in name or not name.endswith(".json"):
        raise CheckpointError(f"{name!r} is no name of a JSON file in the folder: the folder was not written by mmie")
    return name


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors, on the CPU."""
    try:
        return load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"'{folder}' holds no {WEIGHTS} that can be read ({_first_line(error)})") from error


def _self_contained(init_args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that build the method from the folder alone.

    Raises:
        CheckpointError: They name a network by a file or repository.
    """
    named = [name for name in _NETWORKS if init_args.get(name) and not timm.is_model(str(init_args[name]))]
    named += [] if isinstance(init_args["text_encoder"], dict) else ["text_encoder"]
    if named:
        raise CheckpointError(
            f"{CONFIG} has a {named[0]} of {str(init_args[named[0]])[:80]!r}: expected one that is built from it alone"
        )
    return {**init_args, "pretrained": False, "init_from": None}


def _first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
