"""Crops at fixed places."""

import pytest
from PIL import Image

from mmie.grounding.center import CenterCrops
from mmie.grounding.selection import select


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (97, 31)])
def test_boxes_lie_inside_the_picture_and_are_all_selected(size):
    width, height = size
    (detections,) = CenterCrops().detect([Image.new("RGB", size)], [[]])
    for left, top, right, bottom in (detection.box for detection in detections):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    assert select(detections, size, 8, min_side=1) == detections


@pytest.mark.parametrize("size", [(300, 200), (200, 300)])
def test_second_and_third_box_are_the_ends_of_the_long_side(size):
    (detections,) = CenterCrops().detect([Image.new("RGB", size)], [[]])
    first, second = sorted(detection.box for detection in detections[1:3])
    assert (first[:2], second[2:]) == ((0, 0), size)


def test_boxes_of_a_wide_picture():
    (detections,) = CenterCrops().detect([Image.new("RGB", (200, 80))], [[]])
    assert [detection.box for detection in detections] == [
        (50, 20, 150, 60),
        (0, 0, 120, 80),
        (80, 0, 200, 80),
        (0, 0, 100, 40),
        (100, 0, 200, 40),
        (0, 40, 100, 80),
        (100, 40, 200, 80),
        (75, 30, 125, 50),
    ]
    assert [detection.score for detection in detections] == [1 / rank for rank in range(1, 9)]
