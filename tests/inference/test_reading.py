"""Reading of posts: words and offsets, views, and problems."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.pictures import animation
from PIL import Image

from mmie.data.animations import load_frames
from mmie.data.pictures import ImageTransform
from mmie.data.words import MAX_WORDS
from mmie.inference.reading import PostError, ViewFormat, read_post
from mmie.types import Entity, Post, Relation

SMALL = ViewFormat(ImageTransform(16, "squash", 10_000), 3)
LARGE = ViewFormat(ImageTransform(32, "squash", 10_000), 2)
RED, GREEN = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "lime")
WORDS = ("Jordan", "lands")


class FakeCropper:
    """Cropper that returns five green crops and counts its calls."""

    def __init__(self):
        self.num_calls = 0

    def crops(self, picture, words):
        self.num_calls += 1
        assert words == WORDS
        return [GREEN] * 5


def test_a_text_is_split_into_words_with_offsets():
    post = read_post(Post(text="Jordan  lands"), 0, []).post
    assert post.words == WORDS
    assert post.offsets == ((0, 6), (8, 13))
    assert post.text == "Jordan  lands"


def test_words_are_joined_by_spaces():
    post = read_post(Post(words=WORDS), 0, []).post
    assert post.text == "Jordan lands"
    assert post.offsets == ((0, 6), (7, 12))


def test_lone_surrogates_are_replaced_without_moving_offsets():
    words = ("a\ud800", "b")
    given = Post(words=words, text="a\ud800 b", offsets=((0, 2), (3, 4)))
    for post in (Post(words=words), Post(text="a\ud800 b"), given):
        read = read_post(post, 0, []).post
        assert read.text == "a? b"
        assert read.offsets[-1] == (3, 4)
    assert read.words == ("a?", "b")


def test_a_post_without_an_id_is_named_by_its_index():
    assert read_post(Post(text="Jordan"), 7, []).post.id == "7"
    assert read_post(Post("a", text="Jordan"), 7, []).post.id == "a"


def test_a_text_without_words_is_a_problem():
    read = read_post(Post(text=" \n"), 0, [])
    assert read.post.words == ()
    assert read.problems == ["text: no words"]


@pytest.mark.parametrize(
    ("post", "reason"),
    [
        ("Jordan lands", r"post 1: expected Post\(text=..., image=...\), found str"),
        ({"text": "Jordan lands"}, "post 1: .* found dict"),
        (None, "post 1: .* found NoneType"),
        (Post(text=5), "post 1: expected a text that is a string, found int"),
    ],
)
def test_items_that_are_no_posts_are_named(post, reason, ner_extractor):
    with pytest.raises(PostError, match=reason):
        read_post(post, 1, [])
    with pytest.raises(PostError, match=reason):
        ner_extractor.extract([Post(text="Jordan lands"), post])


def test_words_of_a_text_need_an_offset_each(ner_extractor):
    text = "Jordan landed in Rome"
    post = Post(words=tuple(text.split()), text=text)
    with pytest.raises(PostError, match="4 words, 0 offsets"):
        read_post(post, 0, [])
    with pytest.raises(PostError, match="4 words, 0 offsets"):
        ner_extractor.extract([post])


@pytest.mark.parametrize("span", [(-1, 1), (0, 0), (1, 3)])
def test_entities_must_lie_within_the_words(span):
    inside, outside = Entity(0, 1, "PER"), Entity(*span, "PER")
    reason = f"post 0: an entity from word {span[0]} to {span[1]} of 2"
    with pytest.raises(PostError, match=reason):
        read_post(Post(words=WORDS, entities=(outside,)), 0, [])
    relation = Relation(inside, outside, "")
    with pytest.raises(PostError, match=reason):
        read_post(Post(words=WORDS, relations=(relation,)), 0, [])


def test_words_must_lie_within_the_text():
    post = Post(words=WORDS, text="Jordan lands", offsets=((0, 6), (7, 13)))
    with pytest.raises(PostError, match="post 0: a word from character 7 to 13 of 12"):
        read_post(post, 0, [])


def test_every_format_has_views_of_its_own_size():
    post = Post(words=WORDS, image=RED, crops=(GREEN, RED, RED))
    views = read_post(post, 0, [SMALL, LARGE]).views
    assert [view.shape for view in views[SMALL]] == [(3, 16, 16)] * 3
    assert [view.shape for view in views[LARGE]] == [(3, 32, 32)] * 2
    for form in (SMALL, LARGE):
        picture, crop = views[form][:2]
        assert torch.equal(picture, form.transform.to_view(RED))
        assert torch.equal(crop, form.transform.to_view(GREEN))


def test_missing_views_are_none():
    read = read_post(Post(words=WORDS, crops=(GREEN,)), 0, [SMALL])
    assert [view is None for view in read.views[SMALL]] == [True, False, True]
    assert read.problems == []
    assert read_post(Post(words=WORDS, image=RED), 0, []).views == {}


def test_unreadable_pictures_are_problems_and_have_no_view(tmp_path):
    (tmp_path / "note.jpg").write_text("no picture")
    two_channels = np.zeros((4, 4, 2), np.uint8)
    post = Post(words=WORDS, image=tmp_path / "note.jpg", crops=(RED, two_channels))
    read = read_post(post, 0, [SMALL])
    assert [view is None for view in read.views[SMALL]] == [True, False, True]
    assert read.problems == [
        "image: not a picture",
        "crop: not a picture: an array of uint8 and shape (4, 4, 2)",
    ]


def test_objects_that_are_no_pictures_are_problems(ner_extractor):
    images = (5, io.BytesIO(b""), bytearray(b""))
    extractions = ner_extractor.extract([Post(text="Jordan lands", image=i) for i in images])
    kinds = ("int", "BytesIO", "bytearray")
    problems = [extraction.problems for extraction in extractions]
    assert problems == [(f"image: not a picture: {kind}",) for kind in kinds]


def test_pictures_beyond_the_views_of_all_formats_are_not_decoded():
    post = Post(words=WORDS, image=RED, crops=(GREEN, b"no picture"))
    assert read_post(post, 0, [LARGE]).problems == []
    assert len(read_post(post, 0, [LARGE, SMALL]).problems) == 1


def test_a_cropper_fills_the_views_of_posts_without_crops():
    cropper = FakeCropper()
    bare = Post(words=WORDS, image=RED)
    views = read_post(bare, 0, [SMALL], cropper).views[SMALL]
    green = SMALL.transform.to_view(GREEN)
    assert torch.equal(views[0], SMALL.transform.to_view(RED))
    assert torch.equal(views[1], green)
    assert torch.equal(views[2], green)
    assert cropper.num_calls == 1


def test_a_cropper_is_not_called_without_a_need():
    cropper = FakeCropper()
    bare = Post(words=WORDS, image=RED)
    picture_alone = ViewFormat(SMALL.transform, 1)
    read_post(replace(bare, crops=(RED,)), 0, [SMALL], cropper)
    read_post(replace(bare, image=None), 0, [SMALL], cropper)
    read_post(replace(bare, image=b"no picture"), 0, [SMALL], cropper)
    read_post(bare, 0, [picture_alone], cropper)
    read_post(bare, 0, [], cropper)
    assert cropper.num_calls == 0


def test_a_text_without_end_is_read_in_part():
    read = read_post(Post(text="Jordan lands " * 10**6), 0, [])
    assert len(read.post.words) == MAX_WORDS
    (problem,) = read.problems
    assert problem.startswith("text: only its first 649")
    assert read_post(Post(text="Jordan " * 100), 0, []).problems == []


def test_words_that_are_given_are_all_read():
    words = ("Jordan",) * (MAX_WORDS + 1)
    read = read_post(Post(words=words), 0, [])
    assert len(read.post.words) == len(words)
    assert read.problems == []


def test_pictures_precede_crops_in_the_views():
    form = ViewFormat(SMALL.transform, 3, num_images=2)
    post = Post(words=WORDS, image=RED, more_images=(b"no picture", GREEN), crops=(GREEN, RED))
    read = read_post(post, 0, [form, SMALL])
    assert [view is None for view in read.views[form]] == [False, True, False]
    assert torch.equal(read.views[form][2], form.transform.to_view(GREEN))
    assert read.views[SMALL][0] is not None
    assert torch.equal(read.views[SMALL][2], form.transform.to_view(RED))
    assert read.problems == ["image 2: not a picture"]
    assert read.post.images == ()


def test_an_animation_fills_the_views_of_missing_pictures():
    frames = animation("GIF")
    post = Post(words=WORDS, image=RED, more_images=(frames,))
    form = ViewFormat(SMALL.transform, 4, num_images=4)
    views = read_post(post, 0, [form, SMALL]).views
    expected = [RED, *load_frames(frames, 3, 10_000)]
    for view, picture in zip(views[form], expected, strict=True):
        assert torch.equal(view, form.transform.to_view(picture))
    assert [view is None for view in views[SMALL]] == [False, True, True]


def test_crops_are_cut_from_the_first_picture():
    cropper = FakeCropper()
    form = ViewFormat(SMALL.transform, 3, num_images=2)
    views = read_post(Post(words=WORDS, image=RED), 0, [form], cropper).views[form]
    assert [view is None for view in views] == [False, True, False]
    assert torch.equal(views[2], form.transform.to_view(GREEN))


def test_fast_jpeg_reduces_pictures_that_no_cropper_cuts(tmp_path):
    form = ViewFormat(ImageTransform(16, "squash", 1_000_000), 2)
    picture = Image.effect_noise((256, 128), 80).convert("RGB")
    picture.save(tmp_path / "noise.jpg", quality=90)
    post = Post(text="Jordan lands", image=tmp_path / "noise.jpg")
    (whole, _) = read_post(post, 0, [form]).views[form]
    (reduced, _) = read_post(post, 0, [form], fast_jpeg=True).views[form]
    (cropped, _) = read_post(post, 0, [form], FakeCropper(), fast_jpeg=True).views[form]
    assert not torch.equal(reduced, whole)
    assert torch.equal(cropped, whole)
