"""Errors of building a block or fitting it to another, and the message for missing weights."""

import textwrap
from pathlib import Path

from mmie.types import MmieError


class WeightsUnavailable(MmieError, RuntimeError):
    """Files of a pretrained model that are missing or unusable.

    The message names the model and the remedy where the hub cannot be reached.
    """


class EncoderUnsuited(MmieError, ValueError):
    """Type of text encoder that cannot do what a method needs, named in the message."""


def unavailable_message(kind: str, source: str, pretrained: bool = True, reason: str = "") -> str:
    """Describe in one line which model is unavailable and what to do.

    Args:
        kind: Kind of model, such as ``text encoder``.
        source: Hub name or local folder.
        pretrained: Whether weights were to be loaded, or the configuration alone.
        reason: Cause; its beginning is repeated if the source is a folder.
    """
    if not Path(source).is_dir():
        return (
            f"{kind} '{source}' is no local folder and the hub does not have it or cannot be "
            "reached: name a folder that holds it, or set pretrained: false with a folder that "
            "holds its config.json"
        )
    files = "config.json and model.safetensors" if pretrained else "config.json"
    cause = f"; {textwrap.shorten(reason, 200)}" if reason else ""
    return (
        f"{kind} '{source}': the folder holds no model that transformers can read "
        f"(needed: {files}{cause})"
    )
