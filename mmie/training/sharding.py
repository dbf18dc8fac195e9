"""Precision of fits whose weights, gradients and optimiser states are sharded (FSDP)."""

from dataclasses import replace
from typing import Any

from lightning.pytorch.plugins import FSDPPrecision
from torch.distributed.fsdp import MixedPrecision


class ShardedPrecision(FSDPPrecision):
    """Precision of FSDP that does not convert batches.

    Lightning and torch would rebuild every dataclass in a batch to convert its tensors, which the
    frozen ones of `mmie.types` refuse. Autocast converts tensors where they are used.
    """

    def convert_input(self, data: Any) -> Any:
        """Return a batch as it is."""
        return data

    @property
    def mixed_precision_config(self) -> MixedPrecision:
        """Types of shards, without a conversion of inputs."""
        config = super().mixed_precision_config
        return replace(config, cast_forward_inputs=False, cast_root_forward_inputs=False)
