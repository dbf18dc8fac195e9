"""The methods: one file each, all `ExtractionModule`s."""

from typing import TYPE_CHECKING

import mmie.utils.late_imports as late_imports

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

# What reads the papers alone does not wait for the imports.
__getattr__ = late_imports.late_getattr(
    __name__,
    {
        "DGHC": "mmie.methods.dghc",
        "ExtractionModule": "mmie.methods.base",
        "HVPNet": "mmie.methods.hvpnet",
        "IMM": "mmie.methods.imm",
        "MLNet": "mmie.methods.mlnet",
        "MLNetPretraining": "mmie.methods.mlnet_pretraining",
        "MultimodalModule": "mmie.methods.multimodal",
        "RAP": "mmie.methods.rap",
        "RSRNeT": "mmie.methods.rsrnet",
        "TextOnly": "mmie.methods.text_only",
    },
)
