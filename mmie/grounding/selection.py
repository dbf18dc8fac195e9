"""Which detections of a picture become crops."""

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
    """The best detections that do not show the same thing, best first.

    Boxes are cut off at the picture's edges, too small ones left out, and of two that overlap the better one stays,
    whatever their phrases. Detections of several detectors are taken in turn, each detector's best first.

    Args:
        detections: What was found in the picture.
        size: Width and height of the picture in pixels.
        count: Most detections to keep.
        min_side: Least width and height in pixels.
        max_overlap: Largest intersection over union of two that are kept.
    """
    clipped = [detection._replace(box=clip(detection.box, size)) for detection in detections]
    large = [d for d in clipped if min(d.box[2] - d.box[0], d.box[3] - d.box[1]) >= min_side]
    if not large:
        return []
    ranked = rank(large)
    boxes = torch.tensor(
        [detection.box for detection in ranked], dtype=torch.float32
    )  # (detections, 4)
    order = torch.arange(
        len(ranked), 0, -1, dtype=torch.float32
    )  # in place of scores, which do not compare
    return [ranked[place] for place in nms(boxes, order, max_overlap)[:count].tolist()]


def rank(detections: Sequence[Detection]) -> list[Detection]:
    """Detections by score; those of several detectors in turn."""
    by_detector: dict[str, list[Detection]] = {}
    for detection in sorted(detections, key=lambda detection: -detection.score):
        by_detector.setdefault(detection.detector, []).append(detection)
    names = list(dict.fromkeys(detection.detector for detection in detections))
    turns = zip_longest(*(by_detector[name] for name in names))
    return [detection for turn in turns for detection in turn if detection is not None]


def clip(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies in a picture of this width and height."""
    left, right = (min(max(edge, 0), size[0]) for edge in (box[0], box[2]))
    top, bottom = (min(max(edge, 0), size[1]) for edge in (box[1], box[3]))
    return left, top, right, bottom


def cut(picture: Image.Image, box: Box) -> Image.Image:
    """The part of a picture in a box, in a copy."""
    return picture.crop(box)
