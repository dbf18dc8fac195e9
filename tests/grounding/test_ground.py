"""Posts to crops: what is written, what is looked at again, and what an interruption leaves."""

from collections.abc import Sequence

import pytest
from PIL import Image

from mmie.data.pictures import load_picture
from mmie.grounding.detectors import CenterCrops, Detection, Detector, GroundingError
from mmie.grounding.ground import Cropper, ground_posts
from mmie.grounding.phrases import word_phrases
from mmie.types import Post


class Counting(Detector):
    """Finds a place that the phrase and the picture's size decide, and remembers what it was asked."""

    def __init__(self, limit: int = 1000, version: int = 0) -> None:
        self.asked: list[tuple[tuple[int, int], tuple[str, ...]]] = []
        self.limit = limit
        self.version = version

    @property
    def name(self) -> str:
        return "counting"

    @property
    def identity(self):
        return {"version": self.version}

    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        self.asked += [
            (picture.size, tuple(own)) for picture, own in zip(pictures, phrases, strict=True)
        ]
        if len(self.asked) > self.limit:
            raise KeyboardInterrupt
        return [[self._found(phrase) for phrase in own] for own in phrases]

    def _found(self, phrase: str) -> Detection:
        edge = 20 + len(phrase)
        return Detection((edge, 10, edge + 40, 60), phrase, 1 / edge, self.name)


@pytest.fixture
def posts(photographs, tmp_path):
    """Three readable pictures, one of them twice under another name; a damaged one, a missing one, none."""
    copy, damaged = tmp_path / "copy.png", tmp_path / "damaged.jpg"
    copy.write_bytes(photographs["coffee"].read_bytes())
    damaged.write_bytes(photographs["coffee"].read_bytes()[:500])
    images = [
        photographs["astronaut"],
        photographs["coffee"],
        copy,
        photographs["rocket"],
        damaged,
        tmp_path / "no.jpg",
    ]
    texts = ["Eileen Collins", "coffee", "coffee", "coffee", "x", "y"]
    made = [
        Post(str(place), tuple(text.split()), image)
        for place, (text, image) in enumerate(zip(texts, images, strict=True))
    ]
    return [*made, Post("6", ("nothing",))]


def ground(posts, tmp_path, detector, **options):
    settings = {"phrases": word_phrases, "cache": tmp_path / "cache", "batch_size": 2, **options}
    return ground_posts(posts, tmp_path / "crops", detector, **settings)


def test_crops_are_cut_named_and_indexed(posts, tmp_path):
    result = ground(posts, tmp_path, CenterCrops(), num_crops=2)
    assert [len(post.crops) for post in result.posts] == [2, 2, 2, 2, 0, 0, 0]
    assert [entry.id for entry in result.entries] == ["0", "1", "2", "3"]
    for entry in result.entries:
        for crop in entry.crops:
            with Image.open(tmp_path / "crops" / crop.file) as picture:
                assert picture.size == (crop.box[2] - crop.box[0], crop.box[3] - crop.box[1])
    assert result.posts[1].crops == result.posts[2].crops
    assert {file.name for file in (tmp_path / "crops").iterdir()} == {
        c.file for e in result.entries for c in e.crops
    }
    assert (result.detected, result.remembered, result.written) == (3, 0, 6)


def test_crops_show_what_is_in_the_box(posts, tmp_path):
    result = ground(posts[:1], tmp_path, Counting())
    (crop,) = result.entries[0].crops
    expected = load_picture(posts[0].image).crop(crop.box).resize((8, 8))
    found = load_picture(result.posts[0].crops[0]).resize((8, 8))
    differences = [abs(a - b) for a, b in zip(expected.tobytes(), found.tobytes(), strict=True)]
    assert max(differences) <= 8
    assert crop.phrase == "Eileen Collins"


def test_unreadable_pictures_are_named(posts, tmp_path):
    result = ground(posts, tmp_path, CenterCrops())
    assert {path.name: reason for path, reason in result.unreadable.items()} == {
        "damaged.jpg": "truncated",
        "no.jpg": "missing",
    }


def test_the_same_content_and_phrases_are_looked_at_once(posts, tmp_path):
    detector = Counting()
    ground(posts, tmp_path, detector)
    assert len(detector.asked) == 3
    again = Counting()
    result = ground(posts, tmp_path, again, num_crops=1)
    assert again.asked == []
    assert (result.detected, result.remembered, result.written) == (0, 3, 0)


def test_other_phrases_or_another_detector_look_again(posts, tmp_path):
    ground(posts, tmp_path, Counting())
    other = Counting()
    ground([Post("0", ("Endeavour",), posts[0].image)], tmp_path, other)
    assert [phrases for _, phrases in other.asked] == [("Endeavour",)]
    newer = Counting(version=1)
    ground(posts, tmp_path, newer)
    assert len(newer.asked) == 3


def test_an_interrupted_run_goes_on(posts, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ground(posts, tmp_path, Counting(limit=2))
    done = Counting()
    result = ground(posts, tmp_path, done)
    assert len(done.asked) == 1
    assert (result.detected, result.remembered) == (1, 2)
    fresh = ground_posts(
        posts,
        tmp_path / "other",
        Counting(),
        phrases=word_phrases,
        cache=tmp_path / "other_cache",
        batch_size=3,
    )
    assert result.entries == fresh.entries


def test_a_line_that_was_cut_off_is_looked_at_again(posts, tmp_path):
    ground(posts, tmp_path, Counting())
    (journal,) = (tmp_path / "cache").glob("*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-10])
    again = Counting()
    ground(posts, tmp_path, again)
    assert len(again.asked) == 1
    last = Counting()
    ground(posts, tmp_path, last)
    assert last.asked == []


def test_a_crop_that_went_away_is_cut_again(posts, tmp_path):
    first = ground(posts, tmp_path, Counting())
    lost = first.posts[0].crops[0]
    content = lost.read_bytes()
    lost.unlink()
    again = Counting()
    assert ground(posts, tmp_path, again).written == 1
    assert lost.read_bytes() == content
    assert again.asked == []


def test_nothing_half_written_is_left(posts, tmp_path):
    (tmp_path / "crops").write_text("a file where the folder should be")
    with pytest.raises(GroundingError, match="cannot be written"):
        ground(posts, tmp_path, CenterCrops())


def test_a_picture_in_memory_is_refused(tmp_path):
    with pytest.raises(GroundingError, match="post 0: expected a picture file"):
        ground([Post("0", ("a",), Image.new("RGB", (4, 4)))], tmp_path, CenterCrops())


def test_pictures_that_are_too_large_are_left_out(posts, tmp_path):
    result = ground(posts[:1], tmp_path, CenterCrops(), max_pixels=100)
    assert result.posts[0].crops == ()
    assert "more than 100 pixels" in result.unreadable.values()


def test_cropper_agrees_with_grounding_posts(posts, tmp_path):
    picture = load_picture(posts[0].image)
    crops = Cropper(Counting(), phrases=word_phrases).crops(picture, posts[0].words)
    (entry,) = ground(posts[:1], tmp_path, Counting()).entries
    assert [crop.tobytes() for crop in crops] == [
        picture.crop(crop.box).tobytes() for crop in entry.crops
    ]
    assert len(Cropper(CenterCrops(), 3).crops(picture, ())) == 3
