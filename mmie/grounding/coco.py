"""Detectors of torchvision for the 80 object categories of COCO."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import detection as zoo  # type: ignore[import-untyped]
from torchvision.models import get_model_builder, get_model_weights, list_models
from torchvision.transforms.functional import pil_to_tensor  # type: ignore[import-untyped]

from mmie.blocks.errors import WeightsUnavailable
from mmie.grounding.detection import Detection, Detector
from mmie.grounding.errors import GroundingError
from mmie.utils.files import digest_file
from mmie.utils.text import first_line

THRESHOLD = 0.3
DEFAULT_MODEL = "fasterrcnn_resnet50_fpn_v2"
_BATCH_COUNTER = "num_batches_tracked"
"""Last part of the name of a buffer that batch normalisation has and its frozen form lacks."""
_ZERO_EPSILON_MODELS = (
    "fasterrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
)
"""Models whose published weights were trained with an epsilon of 0 in frozen normalisation."""


class CocoDetector(Detector):
    """Detector of torchvision with weights trained on COCO, whose detections ignore the phrases.

    Args:
        weights: File of a state dictionary as torchvision publishes them; None is torchvision's
            own, which are downloaded unless they are in its cache.
        model: Name of the model in torchvision; None is the model that the file's name begins with.
        device: Device to compute on.
        threshold: Lowest score of a detection; None is 0.3.
        batch_size: Most pictures that are computed together.

    Raises:
        GroundingError: Torchvision has no such model, or the file's name begins with none.
        WeightsUnavailable: The weights cannot be read or downloaded, or belong to another model.
    """

    reads_phrases = False

    def __init__(
        self,
        weights: str | Path | None = None,
        model: str | None = None,
        device: torch.device | str = "cpu",
        threshold: float | None = None,
        batch_size: int = 8,
    ) -> None:
        self.weights = None if weights is None else Path(weights)
        self.model = model or _default_model(self.weights)
        if self.model not in coco_models():
            raise GroundingError(
                f"coco model '{self.model}': expected one of {', '.join(coco_models())}"
            )
        self.device = torch.device(device)
        self.threshold = THRESHOLD if threshold is None else threshold
        self.batch_size = batch_size
        self._categories: list[str] = get_model_weights(self.model).DEFAULT.meta["categories"]
        if self.weights is None:
            self._module = _load_published(self.model)
        else:
            self._module = _load_file(self.model, self.weights)
        self._module.eval().requires_grad_(False).to(self.device)

    @property
    def name(self) -> str:
        """``coco``."""
        return "coco"

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Model, weights and threshold."""
        if self.weights is None:
            weights = get_model_weights(self.model).DEFAULT.url
        else:
            weights = digest_file(self.weights)
        return {
            "detector": self.name,
            "model": self.model,
            "weights": weights,
            "threshold": self.threshold,
        }

    @torch.no_grad()
    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Detect objects of COCO's categories, whose names become the phrases."""
        detections = []
        for start in range(0, len(pictures), self.batch_size):
            batch = []
            for picture in pictures[start : start + self.batch_size]:
                pixels = pil_to_tensor(picture).float() / 255  # (3, height, width)
                batch.append(pixels.to(self.device))
            for result in self._module(batch):
                detections.append(self._to_detections(result))
        return detections

    def _to_detections(self, result: Mapping[str, Tensor]) -> list[Detection]:
        """Convert torchvision's result for one picture, without scores below the threshold."""
        boxes = result["boxes"].round().int().tolist()  # (detections, 4)
        labels = result["labels"].tolist()  # (detections,)
        scores = result["scores"].tolist()  # (detections,)
        detections = []
        for (left, top, right, bottom), label, score in zip(boxes, labels, scores, strict=True):
            if score >= self.threshold:
                box = (left, top, right, bottom)
                detections.append(Detection(box, self._categories[label], score, self.name))
        return detections


def coco_models() -> list[str]:
    """List the names of torchvision's detectors."""
    names: list[str] = list_models(module=zoo)
    return names


def _default_model(weights: Path | None) -> str:
    """Return the model of a file of weights: the longest model name that its name begins with.

    Raises:
        GroundingError: The file's name does not begin with the name of a model.
    """
    if weights is None:
        return DEFAULT_MODEL
    names = [model for model in coco_models() if weights.name.startswith(model)]
    if not names:
        raise GroundingError(
            f"{weights}: expected a file named as torchvision names its weights, e.g. "
            f"{DEFAULT_MODEL}_coco.pth, whose name begins with one of {', '.join(coco_models())}"
        )
    return max(names, key=len)


def _load_published(model: str) -> nn.Module:
    """Build a model with torchvision's own weights.

    Raises:
        WeightsUnavailable: The weights cannot be downloaded.
    """
    weights = get_model_weights(model).DEFAULT
    try:
        module: nn.Module = get_model_builder(model)(weights=weights, progress=False)
    except (OSError, RuntimeError) as error:  # no network, or an incomplete download
        raise WeightsUnavailable(
            f"coco: the weights of {model} cannot be downloaded ({error}): get {weights.url} where "
            "there is a network and name the file as coco:FILE, or use center, which needs no "
            "weights"
        ) from error
    return module


def _load_file(model: str, file: Path) -> nn.Module:
    """Build a model with the weights of a file.

    Raises:
        WeightsUnavailable: The file cannot be loaded, or its weights belong to another model.
    """
    module: nn.Module = get_model_builder(model)(weights=None, weights_backbone=None)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        missing, unexpected = module.load_state_dict(state, strict=False)
    except Exception as error:  # torch.load raises almost anything on other files
        raise WeightsUnavailable(
            f"{file}: expected the weights of {model}, found what cannot be loaded "
            f"({first_line(error)})"
        ) from error
    # weights of frozen normalisation have no counter
    missing = [name for name in missing if not name.endswith(_BATCH_COUNTER)]
    if missing or unexpected:
        raise WeightsUnavailable(
            f"{file}: expected the weights of {model}, found others ({len(missing)} tensors "
            f"lacking, {len(unexpected)} unknown, among them {[*missing, *unexpected][0]})"
        )
    is_frozen = not any(name.endswith(_BATCH_COUNTER) for name in state)
    if is_frozen and model in _ZERO_EPSILON_MODELS:
        # torchvision does the same for its own weights
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eps = 0.0
    return module
