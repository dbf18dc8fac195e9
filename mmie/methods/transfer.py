"""Reading checkpoint files, and taking the weights of one run into another."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmie.types import MmieError

if TYPE_CHECKING:
    from mmie.methods.base import ExtractionModule

_HEAD = "head."
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


def initialise_from(module: "ExtractionModule", path: str | Path) -> str:
    """Take over every tensor of a checkpoint that has the same name and shape; the head only with the same labels.

    Args:
        module: The module to initialise, of any method.
        path: Checkpoint of another run.

    Returns:
        A line that says what was taken over and what was not, on either side.

    Raises:
        CheckpointError: See `read_checkpoint`; or nothing fits.
    """
    checkpoint = read_checkpoint(path)
    own, theirs = module.state_dict(), checkpoint["state_dict"]
    schema = checkpoint["mmie"]["schema"]
    same_labels = all(_plain(schema[name]) == _plain(getattr(module.schema, name)) for name in _LABELS)
    taken = {
        name: tensor
        for name, tensor in theirs.items()
        if name in own and own[name].shape == tensor.shape and (same_labels or not name.startswith(_HEAD))
    }
    if not taken:
        raise CheckpointError(f"'{path}' has no weights that fit a {type(module).__name__} of this size")
    module.load_state_dict(taken, strict=False)
    fresh, unused = _parts(own.keys() - taken.keys()), _parts(theirs.keys() - taken.keys())
    return (
        f"init_from {path}: took over {len(taken)} of {len(own)} tensors; new: {fresh or 'none'}; "
        f"left in the checkpoint: {unused or 'none'}"
    )


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
