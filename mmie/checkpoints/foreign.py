"""Arguments of a method in a checkpoint, which may come from anyone.

A method is built from the checkpoint alone. Arguments that name a file, a repository or code are
refused. Those that only a fit reads are reset.
"""

from collections.abc import Mapping
from typing import Any

import timm

from mmie.types import MmieError
from mmie.utils.references import find_reference, is_location, without_origin

_NETWORK_ARGUMENTS = ("vision_backbone", "patch_embedding")
"""Arguments that name an architecture of timm."""
_FIT_ARGUMENTS: dict[str, Any] = {"pretrained": False, "init_from": None}
"""Arguments that name what a fit starts from, and the values with which nothing is read."""
_OPTIONAL_FIT_ARGUMENTS: dict[str, Any] = {"clip": None}
"""The same of single methods, which are set only where a checkpoint holds them."""


class ForeignReference(MmieError, ValueError):
    """An argument that would make the package read a file, a repository or code."""


def self_contained(init_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments that build a method without reading anything else.

    Args:
        init_args: Arguments of the constructor, in plain values.

    Raises:
        ForeignReference: An argument names a file, a repository or code, or the text encoder is not
            described.
        RecursionError: The text encoder's configuration is nested too deeply.
    """
    encoder = init_args.get("text_encoder")
    if not isinstance(encoder, Mapping):
        raise ForeignReference(_refusal(f"text_encoder of {str(encoder)[:80]!r}"))
    encoder = without_origin(encoder)
    found = find_reference(encoder)
    if found is not None:
        raise ForeignReference(_refusal(f"text_encoder with {found}"))
    for name in _NETWORK_ARGUMENTS:
        network = init_args.get(name)
        if network and (is_location(str(network)) or not timm.is_model(str(network))):
            raise ForeignReference(_refusal(f"{name} of {str(network)[:80]!r}"))
    unused = {name: init_args[name] for name in init_args if name in _OPTIONAL_FIT_ARGUMENTS}
    reset = {name: _OPTIONAL_FIT_ARGUMENTS[name] for name in unused}
    return {**init_args, "text_encoder": encoder, **_FIT_ARGUMENTS, **reset}


def _refusal(what: str) -> str:
    """Say that an argument refers to something outside the checkpoint."""
    return f"a {what}: expected one that is built from it alone"
