"""Detectors by their names on the command line, and several as one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mmie.grounding.coco import CocoDetector, coco_models
from mmie.grounding.detection import Box, CenterCrops, Detection, Detector, GroundingError
from mmie.grounding.zero_shot import ZeroShotDetector

__all__ = [
    "Box",
    "CenterCrops",
    "CocoDetector",
    "Detection",
    "Detector",
    "GroundingError",
    "MixedDetector",
    "ZeroShotDetector",
    "build_detector",
]


class MixedDetector(Detector):
    """Several detectors as one, as DGHC mixes objects that the text names with those of COCO.

    `select` takes their detections in turn, since scores of different detectors do not compare.

    Args:
        sources: The detectors; the first one's best detection comes first.
    """

    def __init__(self, sources: Sequence[Detector]) -> None:
        self.sources = tuple(sources)
        self.reads_phrases = any(source.reads_phrases for source in sources)

    @property
    def name(self) -> str:
        """The names of the sources, joined by ``+``."""
        return "+".join(source.name for source in self.sources)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The identities of the sources, in order."""
        return {"mixed": [dict(source.identity) for source in self.sources]}

    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """What all of them find in each picture, source by source."""
        found = [source.detect(pictures, phrases) for source in self.sources]
        return [
            [detection for part in parts for detection in part]
            for parts in zip(*found, strict=True)
        ]


def build_detector(
    name: str, device: torch.device | str = "cpu", threshold: float | None = None
) -> Detector:
    """A detector by its name.

    Args:
        name: ``center``; ``coco``, ``coco:MODEL`` or ``coco:FILE``, a detector of torchvision; a folder or hub name of
            a zero-shot detector; or several of these, joined by ``+``.
        device: Where to compute.
        threshold: Least score; None takes each detector's own. Centre crops have no score to speak of and all stay.

    Raises:
        GroundingError: A part of the name is empty, or names no file and no model of torchvision.
        WeightsUnavailable: The weights cannot be had.
    """
    parts = [name] if Path(name).is_dir() else name.split("+")
    if not all(parts):
        raise GroundingError(
            f"detector '{name}': expected center, coco, coco:FILE, a folder or a hub name, or a+b"
        )
    detectors = [_build_one(part, device, threshold) for part in parts]
    return detectors[0] if len(detectors) == 1 else MixedDetector(detectors)


def _build_one(name: str, device: torch.device | str, threshold: float | None) -> Detector:
    """A detector that is no mixture."""
    if name == "center":
        return CenterCrops()
    kind, _, weights = name.partition(":")
    if kind != "coco":
        return ZeroShotDetector(name, device, threshold)
    if not weights or weights in coco_models():
        return CocoDetector(None, weights or None, device, threshold)
    if not Path(weights).is_file():
        raise GroundingError(
            f"detector '{name}': expected a file of weights or one of {', '.join(coco_models())}"
        )
    return CocoDetector(weights, None, device, threshold)
