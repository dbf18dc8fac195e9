"""Fits whose weights, gradients and optimiser states are sharded (FSDP)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.plugins import FSDPPrecision
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision


class ShardedPrecision(FSDPPrecision):
    """Precision of FSDP that does not convert batches.

    Lightning and torch would rebuild every dataclass in a batch to convert its tensors, which the
    frozen ones of `mmie.types` refuse. Autocast converts tensors where they are used.

    Args:
        precision: Precision of the fit.
    """

    def __init__(self, precision: Literal["32-true", "16-mixed", "bf16-mixed"]) -> None:
        super().__init__(precision)

    def convert_input(self, data: Any) -> Any:
        """Return a batch as it is."""
        return data

    @property
    def mixed_precision_config(self) -> MixedPrecision:
        """Types of shards, without a conversion of inputs."""
        config = super().mixed_precision_config
        return replace(config, cast_forward_inputs=False, cast_root_forward_inputs=False)


@contextmanager
def full_weights(trainer: Trainer | None) -> Iterator[None]:
    """Gather the weights of a sharded method on every process, for a block that only reads them.

    Args:
        trainer: The trainer; None, or one without shards, has nothing to gather.
    """
    wrapped = None if trainer is None else trainer.strategy.model
    if isinstance(wrapped, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(wrapped, writeback=False):
            yield
    else:
        yield
