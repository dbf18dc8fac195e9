"""Formats of pictures, and what files are that are none."""

import io

import pytest
from PIL import Image

from mmie.data.picture_formats import (
    HEAD,
    decoders,
    describe_content,
    picture_suffixes,
    supported_formats,
)
from mmie.data.pictures import PictureError, load_picture


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "an empty file"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "a video"),
        (b"\x1aE\xdf\xa3\x01", "a video"),
        (b"\0\0\0\x0cJXL \r\n", "a JPEG XL picture"),
        (b"\xff\x0a\0", "a JPEG XL picture"),
        (b"\n<!-- saved -->\n<!DOCTYPE HTML><html>", "an HTML page"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        (b"/annex/objects/SHA256-s3", "a git-annex pointer"),
        (b"../../blobs/1f", "the target of a link"),
        (b"%PDF-1.7", "a PDF file"),
        (b'{"error": "not found"}', "JSON"),
        (b"no signature", ""),
    ],
)
def test_contents_are_called_what_they_are(content, name):
    assert describe_content(content[:HEAD]).startswith(name)
    assert bool(describe_content(content)) == bool(name)
    with pytest.raises(PictureError, match=f"^not a picture.*{name}"):
        load_picture(content)


def test_heic_is_decoded_with_the_extra():
    pytest.importorskip("pillow_heif")
    assert "HEIF" in supported_formats()
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(stream, "HEIF")
    content = stream.getvalue()
    assert load_picture(content).size == (64, 48)
    assert describe_content(content[:HEAD]) == "a damaged HEIC picture"
    assert {".heic", ".jpg"} <= set(picture_suffixes())
    assert "HEIF" in decoders()


def test_heic_without_the_extra_names_it(monkeypatch):
    monkeypatch.setattr("mmie.data.picture_formats.supported_formats", lambda: ("JPEG",))
    reason = describe_content(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert reason == "a HEIC picture, which needs pip install 'mmie[heif]'"


def test_suffixes_are_those_of_the_decoder():
    assert picture_suffixes()[:2] == (".jpg", ".jpeg")
    assert {".bmp", ".tif", ".jp2", ".avif"} <= set(picture_suffixes())
    assert not {".eps", ".pdf", ".psd", ".mp4"} & set(picture_suffixes())
