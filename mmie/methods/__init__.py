"""The methods: one file each, all `ExtractionModule`s."""

from mmie.methods.base import ExtractionModule, MultimodalModule
from mmie.methods.hvpnet import HVPNet
from mmie.methods.rap import RAP
from mmie.methods.rsrnet import RSRNeT
from mmie.methods.text_only import TextOnly

__all__ = ["RAP", "ExtractionModule", "HVPNet", "MultimodalModule", "RSRNeT", "TextOnly"]
