"""Batch norms of a trained backbone over all processes (``--trainer.sync_batchnorm true``)."""

from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers.norm_act import convert_sync_batchnorm
from torch.nn import Module


class SyncBatchNorm(TorchSyncBatchNorm):
    """Lightning's plugin for timm's backbones.

    Batch norms of timm may hold an activation, which torch's own conversion drops. Torch
    synchronises on GPUs only. A single process computes the same as without the plugin.
    """

    def apply(self, model: Module) -> Module:
        """Convert the model's batch norms."""
        converted: Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted

    def revert(self, model: Module) -> Module:
        """Return the same model: without other processes its batch norms are plain ones."""
        return model
