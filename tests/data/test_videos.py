"""Frames of videos: containers, limits, damaged files, and the missing package."""

import sys

import pytest
from helpers.pictures import COLOURS, animation, colours_of, video
from PIL import Image

from mmie.data import videos
from mmie.data.pictures import PictureError
from mmie.data.videos import _to_upright, video_container, video_frames

pytest.importorskip("av")


@pytest.fixture(scope="module")
def mp4():
    return video()


@pytest.mark.parametrize(
    ("kind", "container"), [("mp4", "mp4"), ("matroska", "matroska"), ("avi", "avi")]
)
def test_containers_are_told_by_their_first_bytes(kind, container):
    data = video(COLOURS[:4], kind)
    assert video_container(data) == container
    assert colours_of(video_frames(data, 2, 10_000)) == ["red", "blue"]


def test_other_files_are_no_videos(tmp_path):
    assert video_container(animation("GIF")) is None
    assert video_container(b"\0\0\0\x1cftypavif") is None
    assert video_container(b"#EXTM3U\nfile:///etc/passwd") is None
    assert video_container(tmp_path) is None
    assert video_container(tmp_path / "absent.mp4") is None
    (tmp_path / "a.jpg").write_bytes(video(COLOURS[:1]))
    assert video_container(tmp_path / "a.jpg") is None


def test_frames_are_evenly_spaced_from_the_first_on(mp4, tmp_path):
    (tmp_path / "a.mp4").write_bytes(mp4)
    assert colours_of(video_frames(tmp_path / "a.mp4", 1, 10_000)) == ["red"]
    assert colours_of(video_frames(str(tmp_path / "a.mp4"), 4, 10_000)) == [*COLOURS[::2]]
    assert colours_of(video_frames(mp4, 8, 10_000)) == [*COLOURS]
    assert len(video_frames(video(COLOURS[:2], repeats=1), 4, 10_000)) == 2


def test_large_frames_are_refused_and_long_decoding_ends(mp4, monkeypatch):
    with pytest.raises(PictureError, match="more than 1000 pixels"):
        video_frames(mp4, 2, 1000)
    monkeypatch.setattr(videos, "MAX_DECODED", 3)
    assert 1 <= len(video_frames(mp4, 8, 1024)) <= 3


@pytest.mark.parametrize("cut", [20, 400])
def test_damaged_videos_are_no_pictures(mp4, cut):
    with pytest.raises(PictureError, match=r"truncated|without frames"):
        video_frames(mp4[:cut], 2, 10_000)


def test_frames_before_the_damage_are_taken():
    data = video(kind="matroska")
    assert colours_of(video_frames(data[: len(data) // 2], 4, 10_000))[0] == "red"


def test_the_missing_package_is_named(mp4, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(PictureError, match=r"a video: package 'av' is not .*'mmie\[video\]'"):
        video_frames(mp4, 2, 10_000)


def test_frames_are_turned_as_their_metadata_says():
    class Frame:
        rotation = 90

        def to_image(self):
            picture = Image.new("RGB", (4, 2), "black")
            picture.putpixel((3, 0), (255, 0, 0))
            return picture

    picture = _to_upright(Frame())
    assert picture.size == (2, 4)
    assert picture.getpixel((0, 0)) == (255, 0, 0)
