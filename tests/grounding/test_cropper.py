"""Crops of pictures in memory."""

from helpers.detectors import FakeDetector

from mmie.data.pictures import load_picture
from mmie.grounding.center import CenterCrops
from mmie.grounding.cropper import Cropper
from mmie.grounding.ground import ground_posts
from mmie.grounding.phrases import word_phrases


def test_crops_equal_those_of_ground_posts(posts, tmp_path):
    picture = load_picture(posts[0].image)
    crops = Cropper(FakeDetector(), phrases=word_phrases).crops(picture, posts[0].words)
    grounding = ground_posts(
        posts[:1],
        tmp_path / "crops",
        FakeDetector(),
        phrases=word_phrases,
        cache=tmp_path / "cache",
    )
    expected = [picture.crop(crop.box) for crop in grounding.entries[0].crops]
    assert [crop.tobytes() for crop in crops] == [crop.tobytes() for crop in expected]


def test_number_of_crops_is_bounded(pictures):
    assert len(Cropper(CenterCrops(), 3).crops(pictures[0], ())) == 3


def test_phrases_are_not_computed_for_detectors_that_do_not_read_them(pictures):
    def fail(post):
        raise AssertionError

    assert Cropper(CenterCrops(), 1, phrases=fail).crops(pictures[0], ("a", "word"))
