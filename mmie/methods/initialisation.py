"""Initialisation of a method from the checkpoint of another run (``init_from``)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from mmie.blocks.text_encoder import TextEncoder
from mmie.blocks.vision import VisualBackbone
from mmie.checkpoints import Checkpoint, CheckpointError, read_checkpoint
from mmie.checkpoints.compatibility import find_difference, same_vocabulary
from mmie.types import Schema

_HEAD, _TEXT = "head.", "text."
_LABEL_ATTRIBUTES = ("task", "labels", "tag_scheme")


class InitialisableModule(Protocol):
    """The part of an `ExtractionModule` that initialisation reads and writes."""

    schema: Schema
    text: TextEncoder

    def rebuild_args(self) -> dict[str, Any]:
        """Return constructor arguments that build the same network without a hub or folder."""

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the direct submodules with their names."""

    def state_dict(self, *, keep_vars: bool = False) -> dict[str, Any]:
        """Return weights and buffers by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any:
        """Copy weights and buffers by name."""


def initialise_from(
    module: InitialisableModule, path: str | Path, tokenizer: Mapping[str, str] | None = None
) -> str:
    """Copy every tensor of a checkpoint that has the same name, shape and meaning in a module.

    The head is copied only if the labels are the same, a visual backbone only from the same
    architecture, word embeddings only from the same vocabulary.

    Args:
        module: The module to initialise, of any method.
        path: Checkpoint of another run.
        tokenizer: Files of the module's tokenizer, name to text; None trusts vocabularies of the
            same size.

    Returns:
        A line that names what was copied, what stays new and what the checkpoint holds besides.

    Raises:
        CheckpointError: The file is no checkpoint, or its text encoder is another one.
    """
    checkpoint = read_checkpoint(path)
    state, source = module.state_dict(), checkpoint.state_dict
    weight = module.text.model.get_input_embeddings().weight
    variables = module.state_dict(keep_vars=True)
    embeddings = {name for name, tensor in variables.items() if tensor is weight}
    _check_text_encoder(module, checkpoint, embeddings)
    refused: dict[str, str] = {}
    different_labels = find_difference(checkpoint, module.schema, _LABEL_ATTRIBUTES)
    if different_labels is not None:
        refused[_HEAD] = f"the head is new, since {different_labels} differs"
    refused |= _refused_backbones(module, checkpoint)
    refused |= _refused_embeddings(module, checkpoint, embeddings, tokenizer)
    copied = {
        name: tensor
        for name, tensor in source.items()
        if name in state
        and state[name].shape == tensor.shape
        and not name.startswith(tuple(refused))
    }
    module.load_state_dict(copied, strict=False)
    new = _count_by_part(state.keys() - copied.keys())
    unused = _count_by_part(source.keys() - copied.keys())
    parts = [
        f"took over {len(copied)} of {len(state)} tensors",
        f"new: {new or 'none'}",
        f"left in the checkpoint: {unused or 'none'}",
        *dict.fromkeys(refused.values()),
    ]
    return f"init_from {path}: {'; '.join(parts)}"


def _check_text_encoder(
    module: InitialisableModule, checkpoint: Checkpoint, embeddings: set[str]
) -> None:
    """Raise if the text encoder is of another family or size.

    Layers of the same name would mean something else.

    Raises:
        CheckpointError: The text encoders differ.
    """
    kind = module.text.config.model_type
    theirs_kind = checkpoint.init_args["text_encoder"]["model_type"]
    if kind != theirs_kind:
        raise CheckpointError(
            f"'{checkpoint.source}' has a text encoder of type {theirs_kind}, this method one of "
            f"type {kind}: init_from needs the same, see --model.init_args.text_encoder"
        )
    ours = _text_shapes(module.state_dict())
    theirs = _text_shapes(checkpoint.state_dict)
    for name in sorted((ours.keys() | theirs.keys()) - embeddings):
        if ours.get(name) != theirs.get(name):
            raise CheckpointError(
                f"'{checkpoint.source}' has a text encoder of another size ({name} is "
                f"{theirs.get(name, 'not there')}, here {ours.get(name, 'not there')}): "
                "init_from needs the same, see --model.init_args.text_encoder"
            )


def _text_shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Map the text encoder's tensors to their shapes."""
    return {name: tuple(tensor.shape) for name, tensor in state.items() if name.startswith(_TEXT)}


def _refused_backbones(module: InitialisableModule, checkpoint: Checkpoint) -> dict[str, str]:
    """Map prefixes of visual backbones to the reason why they are not copied.

    A deeper architecture has layers of the same names and shapes that compute something else.
    """
    theirs = checkpoint.init_args.get("vision_backbone")
    ours = module.rebuild_args().get("vision_backbone")
    if theirs in (None, ours):
        return {}
    reason = f"the backbone is not taken over, since it is {theirs} there and {ours} here"
    return {
        f"{name}.": reason
        for name, child in module.named_children()
        if isinstance(child, VisualBackbone)
    }


def _refused_embeddings(
    module: InitialisableModule,
    checkpoint: Checkpoint,
    embeddings: set[str],
    tokenizer: Mapping[str, str] | None,
) -> dict[str, str]:
    """Map names of word embeddings to the reason why they are not copied."""
    theirs, ours = checkpoint.schema.vocab_size, module.schema.vocab_size
    if tokenizer is None or checkpoint.tokenizer is None:
        same = theirs == ours
    else:
        same = theirs == ours and same_vocabulary(checkpoint.tokenizer, tokenizer)
    if same:
        return {}
    reason = (
        "word embeddings are not taken over, since the vocabulary differs "
        f"({theirs} tokens there, {ours} here)"
    )
    return dict.fromkeys(embeddings, reason)


def _count_by_part(names: set[str]) -> str:
    """List the modules that tensors belong to, each with its number of tensors."""
    parts = (".".join(name.split(".")[:2]) for name in sorted(names))
    return ", ".join(f"{part} ({count})" for part, count in Counter(parts).items())
