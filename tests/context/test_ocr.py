"""Text in pictures."""

import pytest
from helpers.pictures import gradient_picture, save_picture
from PIL import Image, ImageDraw, ImageFont

from mmie.context.answers import AnswerCache
from mmie.context.ocr import (
    PictureReader,
    TextLine,
    lines_to_text,
    read_pictures,
    reading_order,
)
from mmie.types import Post


class CountingReader:
    """Reads the size of a picture as its text, and counts the pictures."""

    def __init__(self):
        self.count = 0

    def read(self, picture):
        self.count += 1
        return "" if picture.width == 1 else f"{picture.width} x {picture.height}"


def line(text, left, top, height=10):
    return TextLine(text, 1.0, (left, top, left + 30, top + height))


@pytest.fixture
def cache(tmp_path):
    return AnswerCache(tmp_path / "ocr.jsonl", {"maker": "ocr"}, 100)


def test_lines_are_read_by_rows():
    lines = [
        line("d", 50, 31),
        line("b", 50, 2),
        line("c", 0, 30),
        line("a", 0, 0),
        line("e", 9, 50),
    ]
    assert [item.text for item in reading_order(lines)] == ["a", "b", "c", "d", "e"]


def test_small_lines_beside_a_tall_one_are_rows_of_their_own():
    lines = [line("big", 0, 0, 60), line("first", 50, 5), line("second", 50, 45)]
    assert [item.text for item in reading_order(lines)] == ["first", "big", "second"]


def test_lines_of_low_confidence_are_left_out():
    lines = [line("b", 40, 0)._replace(confidence=0.4), line("c", 80, 0), line("a", 0, 0)]
    assert lines_to_text(lines, 0.5) == "a c"
    assert lines_to_text(lines, 0.4) == "a b c"


def test_each_distinct_picture_is_read_once(tmp_path, cache):
    first = save_picture(tmp_path / "a.png", gradient_picture(6, 4))
    copy = save_picture(tmp_path / "b.png", gradient_picture(6, 4))
    other = save_picture(tmp_path / "c.png", gradient_picture(8, 4))
    posts = [Post("1", image=first), Post("2", image=copy, more_images=(other,)), Post("3")]
    reader = CountingReader()
    expected = {"1": "6 x 4", "2": "6 x 4 8 x 4"}
    assert read_pictures(posts, reader, cache) == expected
    assert reader.count == 2
    again = AnswerCache(cache.file, cache.settings, 100)
    assert read_pictures(posts, reader, again) == expected
    assert reader.count == 2


def test_pictures_without_text_give_no_context_and_are_remembered(tmp_path, cache):
    post = Post("1", image=save_picture(tmp_path / "a.png", gradient_picture(1, 4)))
    reader = CountingReader()
    assert read_pictures([post], reader, cache) == read_pictures([post], reader, cache) == {}
    assert reader.count == 1


def test_unreadable_pictures_are_left_out(tmp_path, cache):
    (tmp_path / "bad.png").write_text("no picture")
    posts = [Post("1", image=tmp_path / "bad.png"), Post("2", image=tmp_path / "missing.png")]
    assert read_pictures(posts, CountingReader(), cache) == {}


def test_the_text_of_a_real_picture_is_read():
    pytest.importorskip("rapidocr", reason="needs RapidOCR: mmie[ocr]")
    picture = Image.new("RGB", (300, 100), "white")
    font = ImageFont.load_default(28)
    ImageDraw.Draw(picture).text((160, 30), "Bulls", fill="black", font=font)
    ImageDraw.Draw(picture).text((20, 30), "Chicago", fill="black", font=font)
    reader = PictureReader()
    assert reader.read(picture) == "Chicago Bulls"
    assert reader.read(Image.new("RGB", (50, 50), "white")) == ""
