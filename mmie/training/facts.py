"""Facts of a fit or test, for the record of its run: see `mmie.runs.facts`."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from mmie.blocks.text_encoder import TextEncoder
from mmie.blocks.vision import VisualBackbone
from mmie.runs.checkpoint_digests import recorded_digests
from mmie.runs.facts import (
    CHECKPOINT_DIGEST,
    COMMANDS_KEY,
    CORPUS_KEY,
    ENCODERS_KEY,
    HARDWARE_KEY,
    LIMIT,
    SPLIT_DIGEST,
    VERSION_KEY,
)
from mmie.utils.devices import describe_hardware
from mmie.utils.files import digest_file
from mmie.utils.version import VERSION


def facts_of_fit(
    trainer: Trainer, encoders: dict[str, str], commands: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the facts of a fit.

    Args:
        trainer: The trainer.
        encoders: Digests that `encoder_digests` has computed before the first step.
        commands: Commands of the fit and its continuations so far.
    """
    digests = getattr(trainer.datamodule, "digests", {})  # type: ignore[attr-defined]
    return {
        VERSION_KEY: VERSION,
        CORPUS_KEY: digests,
        ENCODERS_KEY: encoders,
        **_circumstances(trainer, commands),
    }


def facts_of_test(trainer: Trainer, limit: float, commands: Sequence[str] = ()) -> dict[str, Any]:
    """Return the facts of a test or predict.

    Args:
        trainer: The trainer.
        limit: Limit of its batches, as Lightning gives it: a number of batches, or a share.
        commands: The command.
    """
    checkpoint = Path(str(trainer.ckpt_path))
    digests = recorded_digests(checkpoint)  # checked when the file was read
    if len(digests) != 1 and checkpoint.is_file():
        digests = [digest_file(checkpoint)]
    splits = getattr(trainer.datamodule, "digests", {})  # type: ignore[attr-defined]
    facts = {
        VERSION_KEY: VERSION,
        CHECKPOINT_DIGEST: digests[0] if digests else None,
        SPLIT_DIGEST: splits.get("test"),
        **_circumstances(trainer, commands),
    }
    if limit != 1.0 or isinstance(limit, int):  # 1.0 is all batches, 1 is one
        facts[LIMIT] = limit
    return facts


def encoder_digests(module: LightningModule) -> dict[str, str]:
    """Compute the SHA-256 of configuration and weights of each pretrained encoder, by its name.

    A module that starts from random weights has none.
    """
    if not getattr(module, "pretrained", False):
        return {}
    digests = {}
    for name, part in module.named_children():
        if isinstance(part, TextEncoder | VisualBackbone):
            identity = json.dumps(part.identity(), sort_keys=True, default=str)
            digests[name] = hashlib.sha256(identity.encode()).hexdigest()
    return digests


def _circumstances(trainer: Trainer, commands: Sequence[str]) -> dict[str, Any]:
    """Return the hardware in words, and the commands, if there are any."""
    hardware = describe_hardware(trainer.strategy.root_device, trainer.world_size)
    known: dict[str, Any] = {HARDWARE_KEY: hardware}
    if commands:
        known[COMMANDS_KEY] = list(commands)
    return known
