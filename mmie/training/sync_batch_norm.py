"""Batch norms of a trained backbone that see the batch of all processes (``--trainer.sync_batchnorm true``)."""

from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers.norm_act import convert_sync_batchnorm
from torch.nn import Module


class SyncBatchNorm(TorchSyncBatchNorm):
    """Lightning's plugin for timm's backbones, whose batch norms may hold an activation, which torch's would drop.

    Torch synchronises on GPUs only. One process alone computes what it computed before.
    """

    def apply(self, model: Module) -> Module:
        """The model with batch norms of the joint batch."""
        converted: Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted

    def revert(self, model: Module) -> Module:
        """The same model: without other processes its batch norms are plain ones."""
        return model
