"""Selection against a plain reading of its rules."""

import random

import pytest
from PIL import Image

from mmie.grounding.detection import Box, Detection
from mmie.grounding.selection import cut, rank, select

SIZE = (100, 80)


def overlap(left: Box, right: Box) -> float:
    """Intersection over union, by counting pixels."""
    cells = [{(x, y) for x in range(b[0], b[2]) for y in range(b[1], b[3])} for b in (left, right)]
    return len(cells[0] & cells[1]) / len(cells[0] | cells[1])


def expected(detections: list[Detection], count: int, limit: float) -> list[Detection]:
    """The best ones, none of which overlaps a better one too much."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda d: -d.score):
        if all(overlap(detection.box, other.box) <= limit for other in kept):
            kept.append(detection)
    return kept[:count]


@pytest.mark.parametrize("seed", range(20))
def test_matches_brute_force(seed):
    draw = random.Random(seed)
    found = []
    for _ in range(12):
        left, top = draw.randrange(0, 60), draw.randrange(0, 50)
        box = (left, top, left + draw.randrange(16, 40), top + draw.randrange(16, 30))
        found.append(Detection(box, draw.choice(["cat", "dog"]), draw.random(), "one"))
    assert select(found, SIZE, 5, max_overlap=0.3) == expected(found, 5, 0.3)


def test_phrases_do_not_save_an_overlapping_box():
    found = [
        Detection((0, 0, 50, 50), "cat", 0.5, "one"),
        Detection((1, 1, 50, 50), "animal", 0.9, "one"),
    ]
    assert [detection.phrase for detection in select(found, SIZE, 3)] == ["animal"]


def test_boxes_are_clipped_before_small_ones_go():
    found = [
        Detection((-50, -10, 20, 200), "", 0.9, "one"),
        Detection((90, 0, 140, 80), "", 0.8, "one"),
    ]
    assert [detection.box for detection in select(found, SIZE, 3)] == [(0, 0, 20, 80)]
    assert len(select(found, SIZE, 3, min_side=10)) == 2
    assert select([Detection((200, 200, 300, 300), "", 1.0, "one")], SIZE, 3) == []


def test_detectors_take_turns():
    scores = {"sure": (0.99, 0.98, 0.97), "modest": (0.2, 0.3)}
    found = [
        Detection((0, 0, 1, 1), "", score, name) for name, own in scores.items() for score in own
    ]
    assert [(d.detector, d.score) for d in rank(found)] == [
        ("sure", 0.99),
        ("modest", 0.3),
        ("sure", 0.98),
        ("modest", 0.2),
        ("sure", 0.97),
    ]


def test_nothing_found():
    assert select([], SIZE, 3) == []


def test_cut_keeps_the_pixels_of_the_box():
    picture = Image.new("RGB", (4, 3))
    picture.putpixel((2, 1), (255, 0, 0))
    crop = cut(picture, (2, 1, 4, 3))
    assert crop.size == (2, 2)
    assert crop.getpixel((0, 0)) == (255, 0, 0)
