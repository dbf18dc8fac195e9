"""Objects that a phrase describes, found by a detector that was never trained on them.

Sources: Liu et al., Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object Detection, ECCV 2024;
Minderer et al., Scaling Open-Vocabulary Object Detection (OWLv2), NeurIPS 2023.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from mmie.blocks.errors import WeightsUnavailable, unavailable_message
from mmie.grounding.detection import Detection, Detector
from mmie.utils.files import digest_path

_FIXED_LENGTH = ("owlv2", "owlvit")
"""Models whose queries are all padded to one length, however short."""


class ZeroShotDetector(Detector):
    """Grounding DINO, OWLv2 or another zero-shot detector of transformers.

    A picture is put to it with all its phrases at once; one without phrases is not looked at. On a GPU it computes in
    float16 where that is safe. Pictures with the same number of phrases share a batch, since a query that only fills up
    would take boxes from the real ones; Grounding DINO also pads pictures to the largest of a batch, which moves
    its boxes by a fraction of a pixel or so.

    Args:
        source: Hub name of the model, or local folder of one with its processor.
        device: Where to compute.
        threshold: Least score; None takes the processor's own.
        batch_size: Most pictures that are computed together.

    Raises:
        WeightsUnavailable: The source is no folder here and cannot be had from the hub, or holds no such detector.
    """

    def __init__(
        self,
        source: str | Path,
        device: torch.device | str = "cpu",
        threshold: float | None = None,
        batch_size: int = 8,
    ) -> None:
        self.source = str(source)
        self.device = torch.device(device)
        self.threshold = threshold
        self.batch_size = batch_size
        self._model, self._processor = _load(self.source)
        self._model.eval().requires_grad_(False).to(self.device)

    @property
    def name(self) -> str:
        """The model's type, e.g. ``owlv2`` or ``grounding-dino``."""
        return str(self._model.config.model_type)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Model, threshold and precision."""
        folder = Path(self.source)
        revision = getattr(self._model.config, "_commit_hash", None)
        weights = digest_path(folder) if folder.is_dir() else f"{self.source}@{revision}"
        return {
            "detector": self.name,
            "weights": weights,
            "threshold": self.threshold,
            "device": self.device.type,
        }

    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """What is found of the phrases in each picture."""
        cleaned = [[text for phrase in own if (text := _clean(phrase))] for own in phrases]
        found: list[list[Detection]] = [[] for _ in pictures]
        by_count = sorted(range(len(pictures)), key=lambda place: len(cleaned[place]))
        for count, group in groupby(by_count, key=lambda place: len(cleaned[place])):
            places = list(group) if count else []
            for start in range(0, len(places), self.batch_size):
                chunk = places[start : start + self.batch_size]
                results = self._detect(
                    [pictures[place] for place in chunk], [cleaned[place] for place in chunk]
                )
                for place, detections in zip(chunk, results, strict=True):
                    found[place] = detections
        return found

    @torch.no_grad()
    def _detect(
        self, pictures: list[Image.Image], phrases: list[list[str]]
    ) -> list[list[Detection]]:
        """Pictures with equally many phrases, at least one."""
        inputs = self._processor(
            images=pictures,
            text=phrases,
            return_tensors="pt",
            truncation=True,
            **self._text_padding,
        ).to(self.device)
        with torch.autocast("cuda", torch.float16) if self.device.type == "cuda" else nullcontext():
            outputs = self._model(**inputs)
        sizes = [(picture.height, picture.width) for picture in pictures]
        limit = {} if self.threshold is None else {"threshold": self.threshold}
        results = self._processor.post_process_grounded_object_detection(
            outputs, target_sizes=sizes, text_labels=phrases, **limit
        )
        return [
            self._to_detections(result, own) for result, own in zip(results, phrases, strict=True)
        ]

    @property
    def _text_padding(self) -> dict[str, Any]:
        """How phrases become equally long, and the most tokens that the model has places for."""
        config = self._model.config
        if self.name in _FIXED_LENGTH:
            return {
                "padding": "max_length",
                "max_length": config.text_config.max_position_embeddings,
            }
        return {"padding": True, "max_length": getattr(config, "max_text_len", None)}

    def _to_detections(self, result: Mapping[str, Any], phrases: Sequence[str]) -> list[Detection]:
        """The detections of one picture, its boxes rounded to whole pixels."""
        rows = zip(
            result["boxes"].round().int().tolist(),
            result["scores"].tolist(),
            result["text_labels"],
            strict=True,
        )
        return [
            Detection(
                (box[0], box[1], box[2], box[3]), closest_phrase(label, phrases), score, self.name
            )
            for box, score, label in rows
        ]


def closest_phrase(label: str, phrases: Sequence[str]) -> str:
    """The phrase that a label stands for: Grounding DINO tells only the words of all phrases that light up.

    Returns:
        The phrase that shares most words with the label, a larger share of its own words first; "" if none does.
    """
    if label in phrases:
        return label
    said = set(label.lower().split())
    shared = [len(said & set(phrase.lower().split())) / len(phrase.split()) for phrase in phrases]
    best = max(range(len(phrases)), key=lambda place: (shared[place], len(phrases[place])))
    return phrases[best] if shared[best] else ""


def _clean(phrase: str) -> str:
    """A phrase without full stops, which end a phrase for Grounding DINO."""
    return re.sub(r"[.\s]+", " ", phrase).strip()


def _load(source: str) -> tuple[Any, Any]:
    """The model in float32, and what prepares phrases and pictures for it."""
    loader: Any = AutoModelForZeroShotObjectDetection
    try:
        model, report = loader.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True
        )
        processor = AutoProcessor.from_pretrained(source)
    except Exception as error:  # transformers raises almost anything on damaged files
        raise WeightsUnavailable(_unavailable(source, str(error))) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise WeightsUnavailable(
            f"detector '{source}': its weights lack {len(missing)} tensors, among them {missing[0]}: "
            "name a zero-shot detector"
        )
    return model, processor


def _unavailable(source: str, reason: str) -> str:
    """One line that says what could not be had and what to do."""
    if Path(source).is_dir():
        return unavailable_message("detector", source, reason=reason)
    return (
        f"detector '{source}' is no local folder and the hub does not have it or cannot be reached: "
        "name a folder that holds it, or use center, which needs no weights"
    )
