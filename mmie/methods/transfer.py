"""Reading checkpoint files, and taking the weights of one run into another."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmie.blocks.vision import VisualBackbone
from mmie.types import MmieError

if TYPE_CHECKING:
    from mmie.methods.base import ExtractionModule

_HEAD, _TEXT = "head.", "text."
_LABELS = ("task", "labels", "tag_scheme")


class CheckpointError(MmieError, ValueError):
    """A file that is no checkpoint of this package, or one of a method that is not known here."""


def full_name(method: type) -> str:
    """The name by which a checkpoint knows its method's class."""
    return f"{method.__module__}.{method.__qualname__}"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint, loaded with ``weights_only=True``, on the CPU.

    Raises:
        CheckpointError: There is no such file, or it is no checkpoint of this package.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"checkpoint '{path}' does not exist")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes of a foreign file lead it to
        raise CheckpointError(f"'{path}' is no checkpoint, or holds more than plain values and tensors") from error
    if not isinstance(checkpoint, dict) or "mmie" not in checkpoint:
        raise CheckpointError(f"'{path}' is no checkpoint of mmie: it says nothing of a method")
    return checkpoint


def initialise_from(module: "ExtractionModule", path: str | Path, tokenizer: Mapping[str, str] | None = None) -> str:
    """Take over every tensor of a checkpoint that has the same name and shape and means the same.

    The head is taken over with the same labels only, a visual backbone from the same architecture only, word embeddings
    from the same vocabulary only.

    Args:
        module: The module to initialise, of any method.
        path: Checkpoint of another run.
        tokenizer: Files of the module's tokenizer, name to text; None trusts vocabularies of the same size.

    Returns:
        A line that says what was taken over and what was not, on either side.

    Raises:
        CheckpointError: See `read_checkpoint`; or its text encoder is another one.
    """
    checkpoint = read_checkpoint(path)
    own, theirs = module.state_dict(), checkpoint["state_dict"]
    embeddings = _embedding_names(module)
    _check_text_encoder(module, checkpoint, embeddings, path)
    refused = {
        **_refused_head(module, checkpoint),
        **_refused_backbones(module, checkpoint),
        **_refused_words(module, checkpoint, embeddings, tokenizer),
    }
    taken = {
        name: tensor
        for name, tensor in theirs.items()
        if name in own and own[name].shape == tensor.shape and not name.startswith(tuple(refused))
    }
    module.load_state_dict(taken, strict=False)
    fresh, unused = _parts(own.keys() - taken.keys()), _parts(theirs.keys() - taken.keys())
    parts = [f"took over {len(taken)} of {len(own)} tensors", f"new: {fresh or 'none'}"]
    parts += [f"left in the checkpoint: {unused or 'none'}", *dict.fromkeys(refused.values())]
    return f"init_from {path}: {'; '.join(parts)}"


def _check_text_encoder(
    module: "ExtractionModule", checkpoint: dict[str, Any], embeddings: set[str], path: str | Path
) -> None:
    """Refuse a text encoder of another family or size: layers of the same name would mean something else."""
    kind, theirs_kind = module.text.config.model_type, checkpoint["mmie"]["init_args"]["text_encoder"]["model_type"]
    if kind != theirs_kind:
        raise CheckpointError(
            f"'{path}' has a text encoder of type {theirs_kind}, this method one of type {kind}: "
            "init_from needs the same, see --model.init_args.text_encoder"
        )
    own, theirs = _text_shapes(module.state_dict()), _text_shapes(checkpoint["state_dict"])
    for name in sorted((own.keys() | theirs.keys()) - embeddings):
        if own.get(name) != theirs.get(name):
            raise CheckpointError(
                f"'{path}' has a text encoder of another size ({name} is {theirs.get(name, 'not there')}, "
                f"here {own.get(name, 'not there')}): init_from needs the same, see --model.init_args.text_encoder"
            )


def _text_shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of the text encoder's tensors."""
    return {name: tuple(tensor.shape) for name, tensor in state.items() if name.startswith(_TEXT)}


def _embedding_names(module: "ExtractionModule") -> set[str]:
    """The tensors with a row for every token."""
    weight = module.text.model.get_input_embeddings().weight
    return {name for name, tensor in module.state_dict(keep_vars=True).items() if tensor is weight}


def _refused_head(module: "ExtractionModule", checkpoint: dict[str, Any]) -> dict[str, str]:
    """The head, and why it is not taken over, if the labels differ."""
    schema = checkpoint["mmie"]["schema"]
    different = [name for name in _LABELS if _plain(schema[name]) != _plain(getattr(module.schema, name))]
    return {_HEAD: f"the head is new, since {different[0]} differs"} if different else {}


def _refused_backbones(module: "ExtractionModule", checkpoint: dict[str, Any]) -> dict[str, str]:
    """The visual backbones, and why they are not taken over, if the architecture differs.

    One that is deeper has layers of the same names and shapes, which do something else.
    """
    theirs = checkpoint["mmie"]["init_args"].get("vision_backbone")
    ours = module.rebuild_args().get("vision_backbone")
    if theirs in (None, ours):
        return {}
    reason = f"the backbone is not taken over, since it is {theirs} there and {ours} here"
    return {f"{name}.": reason for name, child in module.named_children() if isinstance(child, VisualBackbone)}


def _refused_words(
    module: "ExtractionModule", checkpoint: dict[str, Any], embeddings: set[str], tokenizer: Mapping[str, str] | None
) -> dict[str, str]:
    """The word embeddings, and why they are not taken over, if the vocabulary differs."""
    theirs = next((state["tokenizer"] for state in checkpoint.values() if _has_tokenizer(state)), None)
    sizes = checkpoint["mmie"]["schema"]["vocab_size"], module.schema.vocab_size
    if sizes[0] == sizes[1] and (tokenizer is None or theirs is None or _vocabulary(theirs) == _vocabulary(tokenizer)):
        return {}
    reason = (
        f"word embeddings are not taken over, since the vocabulary differs ({sizes[0]} tokens there, {sizes[1]} here)"
    )
    return dict.fromkeys(embeddings, reason)


def _has_tokenizer(state: object) -> bool:
    """Whether this is what the data module left in a checkpoint."""
    return isinstance(state, dict) and "tokenizer" in state


def _vocabulary(files: Mapping[str, str]) -> object:
    """What a tokenizer's files say of its tokens and their ids; its settings for the moment left out."""
    content = json.loads(files["tokenizer.json"])
    return content["model"]["vocab"], [(token["id"], token["content"]) for token in content["added_tokens"]]


def _plain(value: object) -> object:
    """Lists as tuples: a checkpoint holds either."""
    return tuple(value) if isinstance(value, list) else value


def _parts(names: set[str]) -> str:
    """The modules that tensors belong to, each with how many of them."""
    counts: dict[str, int] = {}
    for name in sorted(names):
        part = ".".join(name.split(".")[:2])
        counts[part] = counts.get(part, 0) + 1
    return ", ".join(f"{part} ({count})" for part, count in counts.items())
