"""Selection of the detections that become crops."""

from collections.abc import Sequence
from itertools import zip_longest

import torch
from PIL import Image
from torchvision.ops import nms  # type: ignore[import-untyped]

from mmie.grounding.detection import Box, Detection

MAX_OVERLAP = 0.5
MIN_SIDE = 16


def select(
    detections: Sequence[Detection],
    size: tuple[int, int],
    count: int,
    min_side: int = MIN_SIDE,
    max_overlap: float = MAX_OVERLAP,
) -> list[Detection]:
    """Select the best detections that do not overlap, best first.

    Boxes are clipped to the picture and small ones dropped; then non-maximum suppression keeps the
    better of two overlapping boxes, whatever their phrases. Detections of several detectors are
    taken in turn, the best of each detector first.

    Args:
        detections: All detections in the picture.
        size: Width and height of the picture in pixels.
        count: Most detections to select.
        min_side: Least width and height in pixels.
        max_overlap: Largest intersection over union of two selected boxes.
    """
    candidates = []
    for detection in detections:
        left, top, right, bottom = clip(detection.box, size)
        if min(right - left, bottom - top) >= min_side:
            candidates.append(detection._replace(box=(left, top, right, bottom)))
    if not candidates:
        return []
    ranked = rank(candidates)
    corners = [detection.box for detection in ranked]
    boxes = torch.tensor(corners, dtype=torch.float32)  # (detections, 4)
    # descending ranks replace the scores, since those of different detectors are not comparable
    ranks = torch.arange(len(ranked), 0, -1, dtype=torch.float32)  # (detections,)
    indices = nms(boxes, ranks, max_overlap)[:count]  # (selected,)
    return [ranked[index] for index in indices.tolist()]


def rank(detections: Sequence[Detection]) -> list[Detection]:
    """Sort detections by score, and take those of several detectors in turn.

    The detectors take turns in the order in which they first occur.
    """
    by_detector: dict[str, list[Detection]] = {}
    for detection in detections:
        by_detector.setdefault(detection.detector, []).append(detection)
    for group in by_detector.values():
        group.sort(key=lambda detection: -detection.score)
    ranked: list[Detection] = []
    for turn in zip_longest(*by_detector.values()):
        ranked.extend(detection for detection in turn if detection is not None)
    return ranked


def clip(box: Box, size: tuple[int, int]) -> Box:
    """Clip a box to a picture of this width and height."""
    left, top, right, bottom = box
    width, height = size
    return (
        min(max(left, 0), width),
        min(max(top, 0), height),
        min(max(right, 0), width),
        min(max(bottom, 0), height),
    )


def crop_image(picture: Image.Image, box: Box) -> Image.Image:
    """Copy the part of a picture that lies in a box."""
    return picture.crop(box)
