"""Frames of a corpus's animations and videos as files."""

import sys
from dataclasses import replace

import pytest
from helpers.pictures import COLOURS, animation, colours_of, encode_picture, gradient_picture, video

from mmie.data import frame_files
from mmie.data.embedded import is_embedded
from mmie.data.frame_files import FrameFiles, check_videos
from mmie.data.pictures import load_picture
from mmie.types import Post

LIMIT = 10_000


@pytest.fixture
def gif(tmp_path):
    (tmp_path / "a.gif").write_bytes(animation("GIF"))
    return tmp_path / "a.gif"


@pytest.fixture
def film(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "a.mp4").write_bytes(video(COLOURS[:4]))
    return tmp_path / "a.mp4"


@pytest.fixture
def still(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode_picture(gradient_picture(), "JPEG"))
    return tmp_path / "a.jpg"


def expand(post, num_images):
    (expanded,) = FrameFiles(num_images, LIMIT).expand([post])
    return expanded


def test_the_first_frame_of_an_animation_is_its_file(gif, still):
    post = Post("a", image=still, more_images=(gif,), crops=(still,))
    expanded = expand(post, 4)
    assert expanded.images[:2] == (still, gif)
    assert all(is_embedded(image) for image in expanded.images[2:])
    assert colours_of(map(load_picture, expanded.images[1:])) == ["red", "blue", "magenta"]
    assert replace(expanded, more_images=post.more_images) == post


def test_posts_without_spare_views_stay_as_they_are(gif, still, tmp_path):
    for images in ((), (gif,), (still, gif), (gif, still), (tmp_path / "absent.gif",)):
        post = Post("a", image=next(iter(images), None), more_images=images[1:])
        assert expand(post, 1) is post
    post = Post("a", image=still, more_images=(tmp_path / "absent.gif",))
    assert expand(post, 4) is post


def test_frames_of_videos_are_files_of_their_own(film):
    for count in (1, 2):
        images = expand(Post("a", image=film), count).images
        assert len(images) == count
        assert all(is_embedded(image) for image in images)
        assert colours_of(map(load_picture, images)) == ["red", "blue"][:count]


def test_a_file_is_decoded_once_and_again_if_a_frame_is_missing(gif, monkeypatch):
    first = expand(Post("a", image=gif), 3).images
    calls = []

    def load(*arguments):
        calls.append(arguments)
        return load_frames(*arguments)

    load_frames = frame_files.load_frames
    monkeypatch.setattr(frame_files, "load_frames", load)
    assert expand(Post("a", image=gif), 3).images == first
    assert calls == []
    first[1].unlink()
    assert expand(Post("a", image=gif), 3).images == first
    assert first[1].is_file()
    assert len(calls) == 1


def test_a_video_that_cannot_be_decoded_keeps_its_reason(film, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    files = FrameFiles(3, LIMIT + 1)  # frames of another limit are not listed
    post = Post("a", image=film)
    assert files.expand([post]) == [post]
    assert "mmie[video]" in files.problems[film]


def test_readable_videos_are_no_unreadable_pictures(film, tmp_path):
    (tmp_path / "half.mp4").write_bytes(film.read_bytes()[:300])
    audit = dict.fromkeys([film, tmp_path / "half.mp4", tmp_path / "no.jpg"], "not a picture")
    checked = check_videos(audit, LIMIT)
    assert list(checked) == [tmp_path / "half.mp4", tmp_path / "no.jpg"]
    assert checked[tmp_path / "half.mp4"] != checked[tmp_path / "no.jpg"] == "not a picture"
    assert list(check_videos({film: "not a picture"}, 10)) == [film]
