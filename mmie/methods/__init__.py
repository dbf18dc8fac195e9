"""The methods: one file each, all `ExtractionModule`s."""

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
