"""The methods: one file each, all `ExtractionModule`s."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmie.methods.base import ExtractionModule
    from mmie.methods.dghc import DGHC
    from mmie.methods.hvpnet import HVPNet
    from mmie.methods.imm import IMM
    from mmie.methods.mlnet import MLNet
    from mmie.methods.mlnet_pretraining import MLNetPretraining
    from mmie.methods.multimodal import MultimodalModule
    from mmie.methods.rap import RAP
    from mmie.methods.rsrnet import RSRNeT
    from mmie.methods.text_only import TextOnly

__all__ = [
    "DGHC",
    "IMM",
    "RAP",
    "ExtractionModule",
    "HVPNet",
    "MLNet",
    "MLNetPretraining",
    "MultimodalModule",
    "RSRNeT",
    "TextOnly",
]
_MODULES = {
    "DGHC": "dghc",
    "ExtractionModule": "base",
    "HVPNet": "hvpnet",
    "IMM": "imm",
    "MLNet": "mlnet",
    "MLNetPretraining": "mlnet_pretraining",
    "MultimodalModule": "multimodal",
    "RAP": "rap",
    "RSRNeT": "rsrnet",
    "TextOnly": "text_only",
}


def __getattr__(name: str) -> object:
    """Import a method when it is first used: what reads the papers alone need not wait for it.

    Raises:
        AttributeError: The package has no such name.
    """
    if name not in _MODULES:
        raise AttributeError(f"module 'mmie.methods' has no attribute '{name}'")
    return getattr(import_module(f"mmie.methods.{_MODULES[name]}"), name)
