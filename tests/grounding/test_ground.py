"""Grounding of posts: crop files, index entries, cached detections and interrupted runs."""

import json
from dataclasses import replace

import pytest
from helpers.detectors import FakeDetector
from PIL import Image

from mmie.data.pictures import load_picture
from mmie.grounding.center import CenterCrops
from mmie.grounding.errors import GroundingError
from mmie.grounding.ground import ground_posts
from mmie.grounding.layouts import write_posts
from mmie.grounding.phrases import word_phrases
from mmie.types import Post


def ground(posts, tmp_path, detector, **options):
    settings = {"phrases": word_phrases, "cache": tmp_path / "cache", "batch_size": 2, **options}
    return ground_posts(posts, tmp_path / "crops", detector, **settings)


def test_crops_are_cut_named_and_indexed(posts, tmp_path):
    grounding = ground(posts, tmp_path, CenterCrops(), num_crops=2)
    assert [len(post.crops) for post in grounding.posts] == [2, 2, 2, 2, 0, 0, 0]
    assert [entry.id for entry in grounding.entries] == ["0", "1", "2", "3"]
    for entry in grounding.entries:
        for crop in entry.crops:
            left, top, right, bottom = crop.box
            with Image.open(tmp_path / "crops" / crop.file) as picture:
                assert picture.size == (right - left, bottom - top)
    assert grounding.posts[1].crops == grounding.posts[2].crops
    indexed = {crop.file for entry in grounding.entries for crop in entry.crops}
    assert {file.name for file in (tmp_path / "crops").iterdir()} == indexed
    assert (grounding.detected, grounding.cached, grounding.written) == (3, 0, 6)


def test_crops_hold_the_pixels_of_the_box(posts, tmp_path):
    grounding = ground(posts[:1], tmp_path, FakeDetector())
    (crop,) = grounding.entries[0].crops
    expected = load_picture(posts[0].image).crop(crop.box).resize((8, 8))
    written = load_picture(grounding.posts[0].crops[0]).resize((8, 8))
    differences = [abs(a - b) for a, b in zip(expected.tobytes(), written.tobytes(), strict=True)]
    assert max(differences) <= 8
    assert crop.phrase == "Eileen Collins"


def test_unreadable_pictures_are_reported(posts, tmp_path):
    grounding = ground(posts, tmp_path, CenterCrops())
    assert {path.name: reason for path, reason in grounding.unreadable.items()} == {
        "damaged.jpg": "truncated",
        "no.jpg": "missing",
    }


def test_detector_sees_the_same_content_and_phrases_once(posts, tmp_path):
    detector = FakeDetector()
    ground(posts, tmp_path, detector)
    assert len(detector.calls) == 3
    again = FakeDetector()
    grounding = ground(posts, tmp_path, again, num_crops=1)
    assert again.calls == []
    assert (grounding.detected, grounding.cached, grounding.written) == (0, 3, 0)


def test_other_phrases_or_another_detector_are_detected_again(posts, tmp_path):
    ground(posts, tmp_path, FakeDetector())
    other = FakeDetector()
    ground([Post("0", ("Endeavour",), posts[0].image)], tmp_path, other)
    assert [phrases for _, phrases in other.calls] == [("Endeavour",)]
    newer = FakeDetector(version=1)
    ground(posts, tmp_path, newer)
    assert len(newer.calls) == 3


def test_interrupted_run_continues(posts, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ground(posts, tmp_path, FakeDetector(limit=2))
    detector = FakeDetector()
    continued = ground(posts, tmp_path, detector)
    assert len(detector.calls) == 1
    assert (continued.detected, continued.cached) == (1, 2)
    uninterrupted = ground_posts(
        posts,
        tmp_path / "other",
        FakeDetector(),
        phrases=word_phrases,
        cache=tmp_path / "other_cache",
        batch_size=3,
    )
    assert continued.entries == uninterrupted.entries


def test_picture_of_a_partial_journal_line_is_detected_again(posts, tmp_path):
    ground(posts, tmp_path, FakeDetector())
    (journal,) = (tmp_path / "cache").glob("*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-10])
    again = FakeDetector()
    ground(posts, tmp_path, again)
    assert len(again.calls) == 1
    last = FakeDetector()
    ground(posts, tmp_path, last)
    assert last.calls == []


def test_deleted_crop_is_written_again(posts, tmp_path):
    first = ground(posts, tmp_path, FakeDetector())
    deleted = first.posts[0].crops[0]
    content = deleted.read_bytes()
    deleted.unlink()
    again = FakeDetector()
    assert ground(posts, tmp_path, again).written == 1
    assert deleted.read_bytes() == content
    assert again.calls == []


def test_crops_that_cannot_be_written_are_an_error(posts, tmp_path):
    (tmp_path / "crops").write_text("a file where the folder should be")
    with pytest.raises(GroundingError, match="cannot be written"):
        ground(posts, tmp_path, CenterCrops())


def test_pictures_in_memory_are_refused(tmp_path):
    with pytest.raises(GroundingError, match="post 0: expected a picture file"):
        ground([Post("0", ("a",), Image.new("RGB", (4, 4)))], tmp_path, CenterCrops())


def test_too_large_pictures_are_left_out(posts, tmp_path):
    grounding = ground(posts[:1], tmp_path, CenterCrops(), max_pixels=100)
    assert grounding.posts[0].crops == ()
    assert "more than 100 pixels" in grounding.unreadable.values()


def test_crops_are_those_of_the_first_picture(posts, tmp_path):
    first, second = posts[0], posts[3]
    damaged = posts[4].image
    several = replace(first, more_images=(second.image, damaged))
    grounding = ground([several], tmp_path, CenterCrops())
    (post,) = grounding.posts
    assert post.images == several.images
    assert post.crops == ground([first], tmp_path, CenterCrops()).posts[0].crops
    assert grounding.unreadable == {damaged: "truncated"}
    write_posts(tmp_path / "crops" / "posts.jsonl", grounding.posts, set(grounding.unreadable))
    (record,) = map(json.loads, (tmp_path / "crops" / "posts.jsonl").read_text().splitlines())
    assert len(record["images"]) == 2
