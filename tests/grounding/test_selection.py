"""Selection of detections against brute force."""

import itertools
import random

import pytest
from PIL import Image

from mmie.grounding.detection import Box, Detection
from mmie.grounding.selection import clip, crop_image, rank, select

SIZE = (100, 80)


def overlap(left: Box, right: Box) -> float:
    """Compute the intersection over union by counting pixels."""
    left_pixels, right_pixels = pixels(left), pixels(right)
    return len(left_pixels & right_pixels) / len(left_pixels | right_pixels)


def pixels(box: Box) -> set[tuple[int, int]]:
    """List the pixels of a box."""
    columns, rows = range(box[0], box[2]), range(box[1], box[3])
    return set(itertools.product(columns, rows))


def expected(detections: list[Detection], count: int, limit: float) -> list[Detection]:
    """Select the best detections that overlap no better one too much."""
    selected: list[Detection] = []
    for detection in sorted(detections, key=lambda detection: -detection.score):
        if all(overlap(detection.box, other.box) <= limit for other in selected):
            selected.append(detection)
    return selected[:count]


@pytest.mark.parametrize("seed", range(20))
def test_matches_brute_force(seed):
    draw = random.Random(seed)
    detections = []
    for _ in range(12):
        left, top = draw.randrange(0, 60), draw.randrange(0, 50)
        box = (left, top, left + draw.randrange(16, 40), top + draw.randrange(16, 30))
        detections.append(Detection(box, draw.choice(["cat", "dog"]), draw.random(), "one"))
    assert select(detections, SIZE, 5, max_overlap=0.3) == expected(detections, 5, 0.3)


def test_overlapping_boxes_of_different_phrases_are_suppressed():
    detections = [
        Detection((0, 0, 50, 50), "cat", 0.5, "one"),
        Detection((1, 1, 50, 50), "animal", 0.9, "one"),
    ]
    assert [detection.phrase for detection in select(detections, SIZE, 3)] == ["animal"]


def test_boxes_are_clipped_before_small_ones_are_dropped():
    detections = [
        Detection((-50, -10, 20, 200), "", 0.9, "one"),
        Detection((90, 0, 140, 80), "", 0.8, "one"),
    ]
    assert [detection.box for detection in select(detections, SIZE, 3)] == [(0, 0, 20, 80)]
    assert len(select(detections, SIZE, 3, min_side=10)) == 2
    assert select([Detection((200, 200, 300, 300), "", 1.0, "one")], SIZE, 3) == []


def test_detectors_take_turns():
    scores = [("a", 0.99), ("a", 0.98), ("a", 0.97), ("b", 0.2), ("b", 0.3)]
    detections = [Detection((0, 0, 1, 1), "", score, name) for name, score in scores]
    ranked = [(detection.detector, detection.score) for detection in rank(detections)]
    assert ranked == [("a", 0.99), ("b", 0.3), ("a", 0.98), ("b", 0.2), ("a", 0.97)]


def test_no_detections():
    assert select([], SIZE, 3) == []


def test_clip():
    assert clip((-5, -5, 200, 200), SIZE) == (0, 0, 100, 80)
    assert clip((10, 20, 30, 40), SIZE) == (10, 20, 30, 40)


def test_crop_image_holds_the_pixels_of_the_box():
    picture = Image.new("RGB", (4, 3))
    picture.putpixel((2, 1), (255, 0, 0))
    crop = crop_image(picture, (2, 1, 4, 3))
    assert crop.size == (2, 2)
    assert crop.getpixel((0, 0)) == (255, 0, 0)
