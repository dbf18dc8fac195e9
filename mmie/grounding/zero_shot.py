"""Open-vocabulary detectors of transformers, which detect the objects that phrases describe.

Sources: Liu et al., Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object
Detection, ECCV 2024; Minderer et al., Scaling Open-Vocabulary Object Detection (OWLv2), NeurIPS
2023.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from mmie.blocks.errors import WeightsUnavailable, unavailable_message
from mmie.grounding.detection import Detection, Detector
from mmie.utils.files import digest_path
from mmie.utils.model_names import is_missing_folder, missing_folder_message

_FIXED_LENGTH_MODELS = ("owlv2", "owlvit")
"""Types of models whose phrases are all padded to the length of the position embeddings."""


class ZeroShotDetector(Detector):
    """Grounding DINO, OWLv2 or another zero-shot detector of transformers.

    All phrases of a picture are detected in one pass; a picture without phrases has no detections.
    On a GPU, operations that are safe in float16 use it. Only pictures with the same number of
    phrases share a batch, since a padding phrase would take boxes from the real ones. Grounding
    DINO also pads pictures to the largest of a batch, which moves boxes by about a pixel at most.

    Args:
        source: Hub name of the model, or local folder with the model and its processor.
        device: Device to compute on.
        threshold: Lowest score of a detection; None is the processor's default.
        batch_size: Most pictures that are computed together.

    Raises:
        WeightsUnavailable: The source is neither a local folder nor available on the hub, or holds
            no zero-shot detector.
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
        """Model, threshold, and type of the device, which decides on the precision."""
        folder = Path(self.source)
        if folder.is_dir():
            weights = digest_path(folder)
        else:
            revision = getattr(self._model.config, "_commit_hash", None)
            weights = f"{self.source}@{revision}"
        return {
            "detector": self.name,
            "weights": weights,
            "threshold": self.threshold,
            "device": self.device.type,
        }

    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Detect the phrases of each picture."""
        cleaned = []
        for picture_phrases in phrases:
            # full stops would end a phrase for Grounding DINO
            texts = [re.sub(r"[.\s]+", " ", phrase).strip() for phrase in picture_phrases]
            cleaned.append(list(filter(None, texts)))
        detections: list[list[Detection]] = [[] for _ in pictures]
        for batch in self._batches(cleaned):
            batch_pictures = [pictures[index] for index in batch]
            batch_phrases = [cleaned[index] for index in batch]
            results = self._detect_batch(batch_pictures, batch_phrases)
            for index, result in zip(batch, results, strict=True):
                detections[index] = result
        return detections

    def _batches(self, phrases: Sequence[Sequence[str]]) -> Iterator[list[int]]:
        """Yield batches of indices of pictures with equally many phrases, at least one."""
        counts = list(map(len, phrases))
        for count in sorted(set(counts) - {0}):
            indices = [index for index, other in enumerate(counts) if other == count]
            for start in range(0, len(indices), self.batch_size):
                yield indices[start : start + self.batch_size]

    @torch.no_grad()
    def _detect_batch(
        self, pictures: list[Image.Image], phrases: list[list[str]]
    ) -> list[list[Detection]]:
        """Detect in pictures with equally many phrases, at least one."""
        inputs = self._processor(
            images=pictures,
            text=phrases,
            return_tensors="pt",
            truncation=True,
            **self._text_padding,
        ).to(self.device)
        is_cuda = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.float16, enabled=is_cuda):
            outputs = self._model(**inputs)
        sizes = [(picture.height, picture.width) for picture in pictures]
        threshold = {} if self.threshold is None else {"threshold": self.threshold}
        results = self._processor.post_process_grounded_object_detection(
            outputs, target_sizes=sizes, text_labels=phrases, **threshold
        )
        detections = []
        for result, picture_phrases in zip(results, phrases, strict=True):
            detections.append(self._to_detections(result, picture_phrases))
        return detections

    @property
    def _text_padding(self) -> dict[str, Any]:
        """Arguments of the processor that pad and truncate phrases."""
        config = self._model.config
        if self.name in _FIXED_LENGTH_MODELS:
            max_length = config.text_config.max_position_embeddings
            return {"padding": "max_length", "max_length": max_length}
        return {"padding": True, "max_length": getattr(config, "max_text_len", None)}

    def _to_detections(self, result: Mapping[str, Any], phrases: Sequence[str]) -> list[Detection]:
        """Convert the processor's result for one picture, with boxes rounded to whole pixels."""
        boxes = result["boxes"].round().int().tolist()  # (detections, 4)
        scores = result["scores"].tolist()  # (detections,)
        labels = result["text_labels"]
        detections = []
        for (left, top, right, bottom), score, label in zip(boxes, scores, labels, strict=True):
            phrase = closest_phrase(label, phrases)
            detections.append(Detection((left, top, right, bottom), phrase, score, self.name))
        return detections


def closest_phrase(label: str, phrases: Sequence[str]) -> str:
    """Return the phrase that a label stands for.

    Grounding DINO's label is made of all words that match a box, which may belong to several
    phrases.

    Args:
        label: Label of a detection.
        phrases: The picture's phrases.

    Returns:
        The phrase with the largest share of its words in the label, of equals the longest; "" if
        no phrase shares a word.
    """
    if label in phrases:
        return label
    label_words = set(label.lower().split())
    shares = {}
    for phrase in phrases:
        words = phrase.lower().split()
        shares[phrase] = len(label_words.intersection(words)) / len(words)
    best = max(phrases, key=lambda phrase: (shares[phrase], len(phrase)))
    return best if shares[best] > 0 else ""


def _load(source: str) -> tuple[Any, Any]:
    """Load a model in float32, and the processor of its phrases and pictures.

    Raises:
        WeightsUnavailable: The source cannot be loaded, or holds no zero-shot detector.
    """
    if is_missing_folder(source):
        raise WeightsUnavailable(missing_folder_message("detector", source))
    loader: Any = AutoModelForZeroShotObjectDetection
    try:
        model, report = loader.from_pretrained(
            source, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # transformers raises almost anything on damaged files
        raise WeightsUnavailable(_unavailable_message(source, str(error))) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise WeightsUnavailable(
            f"detector '{source}': its weights lack {len(missing)} tensors, among them "
            f"{missing[0]}: name a zero-shot detector"
        )
    return model, processor


def _unavailable_message(source: str, reason: str) -> str:
    """Describe in one line why a detector cannot be loaded, and how to fix it."""
    if Path(source).is_dir():
        return unavailable_message("detector", source, reason=reason)
    return (
        f"detector '{source}' is no local folder and the hub does not have it or cannot be "
        "reached: name a folder that holds it, or use center, which needs no weights"
    )
