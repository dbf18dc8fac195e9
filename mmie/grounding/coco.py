"""Objects of the 80 COCO categories, found by a detector of torchvision."""

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
from mmie.grounding.detection import Detection, Detector, GroundingError
from mmie.utils.files import digest_file

THRESHOLD = 0.3
DEFAULT_MODEL = "fasterrcnn_resnet50_fpn_v2"
_FIRST_EDITION = (
    "fasterrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
)
"""Models whose published weights were trained with batch normalisation that adds nothing to the variance."""


class CocoDetector(Detector):
    """A detector of torchvision with weights trained on COCO; it looks for its categories, whatever the phrases.

    Args:
        weights: File of a state dictionary, as torchvision publishes them; None takes torchvision's own, which are
            downloaded unless they lie in its cache.
        model: The model in torchvision's spelling; None takes the one that the file's name begins with.
        device: Where to compute.
        threshold: Least score; None takes 0.3.
        batch_size: Most pictures that are computed together.

    Raises:
        GroundingError: There is no such model, or none that the file's name begins with.
        WeightsUnavailable: The weights can be neither read nor downloaded, or are another model's.
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
        self.model = model or (DEFAULT_MODEL if self.weights is None else _model_of(self.weights))
        if self.model not in coco_models():
            raise GroundingError(
                f"coco model '{self.model}': expected one of {', '.join(coco_models())}"
            )
        self.device = torch.device(device)
        self.threshold = THRESHOLD if threshold is None else threshold
        self.batch_size = batch_size
        self._categories: list[str] = get_model_weights(self.model).DEFAULT.meta["categories"]
        self._module = (
            _published(self.model) if self.weights is None else _from_file(self.model, self.weights)
        )
        self._module.eval().requires_grad_(False).to(self.device)

    @property
    def name(self) -> str:
        """``coco``."""
        return "coco"

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Model, weights and threshold."""
        weights = (
            get_model_weights(self.model).DEFAULT.url
            if self.weights is None
            else digest_file(self.weights)
        )
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
        """What is found in each picture; the phrase is the category."""
        found = []
        for start in range(0, len(pictures), self.batch_size):
            pixels = [
                _pixels(picture).to(self.device)
                for picture in pictures[start : start + self.batch_size]
            ]
            found += [self._to_detections(result) for result in self._module(pixels)]
        return found

    def _to_detections(self, result: Mapping[str, Tensor]) -> list[Detection]:
        """The detections of one picture that are sure enough."""
        rows = zip(
            result["boxes"].round().int().tolist(),
            result["labels"].tolist(),
            result["scores"].tolist(),
            strict=True,
        )
        return [
            Detection((box[0], box[1], box[2], box[3]), self._categories[label], score, self.name)
            for box, label, score in rows
            if score >= self.threshold
        ]


def coco_models() -> list[str]:
    """Detectors of torchvision, in its spelling."""
    names: list[str] = list_models(module=zoo)
    return names


def _model_of(file: Path) -> str:
    """The model that a file is named after: the longest name that its own begins with."""
    named = [model for model in coco_models() if file.name.startswith(model)]
    if not named:
        raise GroundingError(
            f"{file}: expected a file named as torchvision names its weights, e.g. {DEFAULT_MODEL}_coco.pth, "
            f"whose name begins with one of {', '.join(coco_models())}"
        )
    return max(named, key=len)


def _published(model: str) -> nn.Module:
    """The model with torchvision's own weights."""
    weights = get_model_weights(model).DEFAULT
    try:
        module: nn.Module = get_model_builder(model)(weights=weights, progress=False)
    except (OSError, RuntimeError) as error:  # no network; a download that was cut
        raise WeightsUnavailable(
            f"coco: the weights of {model} cannot be downloaded ({error}): get {weights.url} where there is a network "
            "and name the file as coco:FILE, or use center, which needs no weights"
        ) from error
    return module


def _from_file(model: str, file: Path) -> nn.Module:
    """The model with the weights of a file."""
    module: nn.Module = get_model_builder(model)(weights=None, weights_backbone=None)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        lacking, unknown = module.load_state_dict(state, strict=False)
    except Exception as error:  # torch.load raises almost anything on what is no state dictionary
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsUnavailable(
            f"{file}: expected the weights of {model}, found what cannot be loaded ({reason})"
        ) from error
    lacking = [
        name for name in lacking if not name.endswith("num_batches_tracked")
    ]  # frozen normalisation counts none
    if lacking or unknown:
        raise WeightsUnavailable(
            f"{file}: expected the weights of {model}, found others ({len(lacking)} tensors lacking, {len(unknown)} "
            f"unknown, among them {[*lacking, *unknown][0]})"
        )
    if model in _FIRST_EDITION and not any(name.endswith("num_batches_tracked") for name in state):
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eps = 0.0
    return module


def _pixels(picture: Image.Image) -> Tensor:
    """Pixels from 0 to 1, (3, height, width)."""
    pixels: Tensor = pil_to_tensor(picture)
    return pixels.float() / 255
