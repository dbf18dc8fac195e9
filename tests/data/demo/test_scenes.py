"""Scenes of the demo corpus: their kinds, their boxes, and their seeds."""

import numpy as np
import pytest
from helpers.demo import linear_probe, random_features, to_pixels

from mmie.data.demo.scenes import KINDS, draw_scene


def draw(count, seed, small=False):
    """Scenes and the numbers of their kinds."""
    random = np.random.default_rng(seed)
    scenes = [draw_scene(list(KINDS)[i % 4], 64, small, random) for i in range(count)]
    return scenes, np.arange(count) % 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_frozen_random_backbone_tells_the_kinds_apart(seed):
    train, train_kinds = draw(480, seed=10)
    test, test_kinds = draw(240, seed=11)
    cut, cut_kinds = draw(240, seed=12, small=True)
    crops = [scene.picture.crop(scene.box).resize((64, 64)) for scene in cut]
    fitted = linear_probe().fit(
        random_features([scene.picture for scene in train], seed), train_kinds
    )
    assert fitted.score(random_features([scene.picture for scene in test], seed), test_kinds) > 0.9
    assert fitted.score(random_features(crops, seed), cut_kinds) > 0.9


def test_the_mean_colour_does_not_tell_the_kinds_apart():
    train, train_kinds = draw(480, seed=10)
    test, test_kinds = draw(480, seed=11)
    train_means, test_means = (
        to_pixels([scene.picture for scene in scenes]).mean((2, 3)).numpy()
        for scenes in (train, test)
    )
    assert linear_probe().fit(train_means, train_kinds).score(test_means, test_kinds) < 0.4


def shared_area(first, second):
    """Pixels that two boxes share."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


@pytest.mark.parametrize("size", [32, 47, 64, 101])
def test_boxes_lie_in_the_picture(size):
    random = np.random.default_rng(0)
    corners = set()
    for i in range(200):
        scene = draw_scene(list(KINDS)[i % 4], size, i % 2 == 0, random)
        assert scene.picture.size == (size, size)
        boxes = [scene.box, *scene.elsewhere()]
        assert all(
            0 <= left < right <= size and 0 <= top < bottom <= size
            for left, top, right, bottom in boxes
        )
        if i % 2 == 0:
            assert len(set(boxes)) == 4
            assert not any(
                shared_area(a, b) for index, a in enumerate(boxes) for b in boxes[:index]
            )
            corners.add((scene.box[0] < size // 4, scene.box[1] < size // 4))
        else:
            assert (scene.box[2] - scene.box[0]) > 0.75 * size
    assert len(corners) == 4


def test_pictures_are_seeded_and_distinct():
    first, second = draw(8, seed=3)[0], draw(8, seed=3)[0]
    assert [scene.picture.tobytes() for scene in first] == [
        scene.picture.tobytes() for scene in second
    ]
    assert len({scene.picture.tobytes() for scene in first}) == 8


def test_too_small_pictures_are_rejected():
    with pytest.raises(ValueError, match="size is 31 pixels"):
        draw_scene("rings", 31, False, np.random.default_rng(0))
