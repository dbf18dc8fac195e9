import numpy as np
import pytest
import timm
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmie.data.demo.scenes import KINDS, draw_scene


def draw(count, seed, small=False):
    random = np.random.default_rng(seed)
    scenes = [draw_scene(list(KINDS)[i % 4], 64, small, random) for i in range(count)]
    return scenes, np.arange(count) % 4


def pixels(pictures):
    stacked = np.stack([np.asarray(picture) for picture in pictures])
    return (
        torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255
    )  # (pictures, 3, height, width)


def pooled_features(pictures, seed):
    torch.manual_seed(seed)
    backbone = timm.create_model("test_resnet", pretrained=False, features_only=True).eval()
    with torch.no_grad():
        return backbone((pixels(pictures) - 0.45) / 0.225)[-1].mean((2, 3)).numpy()


def probe():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_frozen_random_backbone_tells_the_kinds_apart(seed):
    train, train_kinds = draw(480, seed=10)
    test, test_kinds = draw(240, seed=11)
    cut, cut_kinds = draw(240, seed=12, small=True)
    crops = [scene.picture.crop(scene.box).resize((64, 64)) for scene in cut]
    fitted = probe().fit(pooled_features([scene.picture for scene in train], seed), train_kinds)
    assert fitted.score(pooled_features([scene.picture for scene in test], seed), test_kinds) > 0.9
    assert fitted.score(pooled_features(crops, seed), cut_kinds) > 0.9


def test_the_mean_colour_does_not():
    train, train_kinds = draw(480, seed=10)
    test, test_kinds = draw(480, seed=11)
    means = [
        pixels([scene.picture for scene in scenes]).mean((2, 3)).numpy() for scenes in (train, test)
    ]
    assert probe().fit(means[0], train_kinds).score(means[1], test_kinds) < 0.4


def area_shared(first, second):
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


@pytest.mark.parametrize("size", [32, 47, 64, 101])
def test_boxes_lie_in_the_picture_and_small_ones_in_one_quarter(size):
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
                area_shared(a, b) for place, a in enumerate(boxes) for b in boxes[:place]
            )
            corners.add((scene.box[0] < size // 4, scene.box[1] < size // 4))
        else:
            assert (scene.box[2] - scene.box[0]) > 0.75 * size
    assert len(corners) == 4


def test_same_seed_same_picture_and_every_picture_differs():
    first, second = draw(8, seed=3)[0], draw(8, seed=3)[0]
    assert [scene.picture.tobytes() for scene in first] == [
        scene.picture.tobytes() for scene in second
    ]
    assert len({scene.picture.tobytes() for scene in first}) == 8


def test_too_small_a_picture_is_refused():
    with pytest.raises(ValueError, match="size is 31 pixels"):
        draw_scene("rings", 31, False, np.random.default_rng(0))
