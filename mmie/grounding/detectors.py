"""Detectors by their names on the command line, and a mixture of detectors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mmie.grounding.center import CenterCrops
from mmie.grounding.coco import CocoDetector, coco_models
from mmie.grounding.detection import Detection, Detector
from mmie.grounding.errors import GroundingError
from mmie.grounding.zero_shot import ZeroShotDetector


class MixedDetector(Detector):
    """Several detectors as one, as DGHC mixes objects that the text names with those of COCO.

    `select` takes their detections in turn, since scores of different detectors are not comparable.

    Args:
        sources: The detectors; the best detection of the first one is selected first.
    """

    def __init__(self, sources: Sequence[Detector]) -> None:
        self.sources = tuple(sources)
        self.reads_phrases = any(source.reads_phrases for source in sources)

    @property
    def name(self) -> str:
        """Names of the sources, joined by ``+``."""
        return "+".join(source.name for source in self.sources)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Identities of the sources, in order."""
        return {"mixed": [dict(source.identity) for source in self.sources]}

    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Concatenate the detections of all sources for each picture."""
        mixed: list[list[Detection]] = [[] for _ in pictures]
        for source in self.sources:
            results = source.detect(pictures, phrases)
            for detections, result in zip(mixed, results, strict=True):
                detections.extend(result)
        return mixed


def build_detector(
    name: str, device: torch.device | str = "cpu", threshold: float | None = None
) -> Detector:
    """Build a detector by its name.

    Args:
        name: ``center``; ``coco``, ``coco:MODEL`` or ``coco:FILE``, a detector of torchvision; a
            folder or hub name of a zero-shot detector; or several of these, joined by ``+``.
        device: Device to compute on.
        threshold: Lowest score of a detection; None is each detector's own. It does not apply to
            ``center``, whose scores only order its boxes.

    Raises:
        GroundingError: A part of the name is empty, or names no file and no model of torchvision.
        WeightsUnavailable: The weights cannot be loaded or downloaded.
    """
    parts = [name] if Path(name).is_dir() else name.split("+")
    if not all(parts):
        raise GroundingError(
            f"detector '{name}': expected center, coco, coco:FILE, a folder or a hub name, or a+b"
        )
    detectors = [_build_single(part, device, threshold) for part in parts]
    return detectors[0] if len(detectors) == 1 else MixedDetector(detectors)


def _build_single(name: str, device: torch.device | str, threshold: float | None) -> Detector:
    """Build a detector that is no mixture.

    Raises:
        GroundingError: The name is neither a file nor a model of torchvision.
        WeightsUnavailable: The weights cannot be loaded or downloaded.
    """
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
