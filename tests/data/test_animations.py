"""Frames of animations, and the views that the pictures of a post take."""

import numpy as np
import pytest
from helpers.pictures import COLOURS, animation, colours_of, encode_picture, gradient_picture, video
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from mmie.data.animations import is_moving, load_frames, share_views
from mmie.data.pictures import PictureError, load_picture

LIMIT = 10_000
STILL = encode_picture(gradient_picture(), "JPEG")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames_are_evenly_spaced_from_the_first_on(kind):
    data = animation(kind)
    assert is_moving(data, LIMIT)
    for count, expected in ((1, ["red"]), (2, ["red", "cyan"]), (9, [*COLOURS])):
        frames = load_frames(data, count, LIMIT)
        assert colours_of(frames) == expected
        assert frames[0].tobytes() == load_picture(data).tobytes()


def test_still_pictures_have_one_frame(tmp_path):
    (tmp_path / "a.jpg").write_bytes(STILL)
    pages = encode_picture(
        Image.new("RGB", (8, 8)), "TIFF", save_all=True, append_images=[Image.new("RGB", (8, 8))]
    )
    array = np.zeros((4, 4, 3), np.uint8)
    opened = Image.open(tmp_path / "a.jpg")
    for source in (STILL, tmp_path / "a.jpg", pages, array, opened, animation("GIF", ["red"])):
        assert not is_moving(source, LIMIT)
        (frame,) = load_frames(source, 3, LIMIT)
        assert frame.tobytes() == load_picture(source).tobytes()


def test_unreadable_pictures_do_not_move_and_raise():
    for source in (b"", b"text", STILL[:-100], 5):
        assert not is_moving(source, LIMIT)
        with pytest.raises(PictureError) as error:
            load_frames(source, 2, LIMIT)
        with pytest.raises(PictureError) as expected:
            load_picture(source, LIMIT)
        assert str(error.value) == str(expected.value)


def test_a_damaged_animation_gives_at_least_its_first_frame():
    data = animation("GIF")
    for length in (len(data) - 40, len(data) // 2):
        colours = colours_of(load_frames(data[:length], 8, LIMIT))
        assert 1 <= len(colours) < 8
        assert colours == [*COLOURS[: len(colours)]]


def test_frames_before_a_damaged_one_are_taken(monkeypatch):
    def seek(self, number):
        if number == 4:
            raise SyntaxError("broken frame")
        original(self, number)

    original = GifImageFile.seek
    monkeypatch.setattr(GifImageFile, "seek", seek)
    data = animation("GIF")
    assert colours_of(load_frames(data, 4, LIMIT)) == ["red", "blue"]


def test_frames_beyond_the_limit_of_pixels_are_left_out():
    data = animation("GIF", COLOURS * 10)
    assert len(load_frames(data, 80, 256)) == 40


def test_views_that_are_left_over_are_shared_among_moving_pictures():
    pytest.importorskip("av")
    gif, film = animation("GIF"), video(COLOURS[:2])
    assert share_views([STILL, STILL], 1, LIMIT) == [1]
    assert share_views([STILL, STILL], 4, LIMIT) == [1, 1]
    assert share_views([gif, STILL], 2, LIMIT) == [1, 1]
    assert share_views([STILL, gif], 4, LIMIT) == [1, 3]
    assert share_views([gif, STILL, film], 6, LIMIT) == [3, 1, 2]
    assert share_views([], 3, LIMIT) == []
