"""Picture files that are small, valid, and made to take long or much memory to decode."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from helpers.serving import picture_bytes
from PIL import Image

from mmie.app.limits import Limits
from mmie.app.uploads import MAX_SCANS, decoded_bytes, open_upload
from mmie.data.pictures import PictureError

LIMITS = Limits()
SECONDS = 2
"""Longest time to refuse a picture, on a busy machine; without bounds it is over ten."""


def encode(values, kind="PNG", **options):
    """Return the bytes of a picture of an array."""
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind, **options)
    return stream.getvalue()


def png_of_chunks(count):
    """Return a PNG with a number of empty chunks that nothing reads."""
    data = picture_bytes()
    chunk = struct.pack(">I4sI", 0, b"abCd", zlib.crc32(b"abCd"))
    return data[:33] + count * chunk + data[33:]


def jpeg_of_markers(count):
    """Return a JPEG with a number of empty application segments."""
    data = picture_bytes(kind="JPEG")
    return data[:2] + count * b"\xff\xe5\0\x02" + data[2:]


def jpeg_of_scans(count):
    """Return a progressive JPEG whose last scan is repeated."""
    data = encode(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + count * scan + data[-2:]


def gif_of_comments(count):
    """Return a GIF with a number of comments."""
    data = encode(np.zeros((64, 64), np.uint8), "GIF")
    start = data.index(b",")
    return data[:start] + count * b"!\xfe\x01a\0" + data[start:]


def tiff_of_tiles(count):
    """Return a TIFF of tiles of one pixel, all at the same place."""
    tags = [(256, 64), (257, 64), (258, 8), (259, 1), (262, 1), (277, 1), (322, 1), (323, 1)]
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    entries.append(struct.pack("<HHII", 324, 4, count, 200))
    table = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return (b"II*\0" + struct.pack("<I", 8) + table).ljust(200, b"\0") + count * b"\x08\0\0\0"


HOSTILE = {
    "chunks": (png_of_chunks(1_000_000), "too many parts"),
    "markers": (jpeg_of_markers(1_000_000), "too many parts"),
    "comments": (gif_of_comments(1_000_000), "too many parts"),
    "tiles": (tiff_of_tiles(1_000_000), "too many parts"),
    "scans": (jpeg_of_scans(MAX_SCANS), f"more than {MAX_SCANS} scans"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_many_parts_are_refused_quickly(name):
    data, reason = HOSTILE[name]
    start = time.process_time()
    with pytest.raises(PictureError, match=reason):
        open_upload(data, LIMITS)
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(
    "make", [png_of_chunks, jpeg_of_markers, jpeg_of_scans, gif_of_comments, tiff_of_tiles]
)
def test_few_parts_are_opened(make):
    picture = open_upload(make(20), LIMITS)
    assert picture.width >= 64


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_large_tiff_is_decoded(compression):
    data = encode(np.ones((1024, 1024, 3), np.uint8), "TIFF", compression=compression)
    assert open_upload(data, LIMITS).convert("RGB").getpixel((9, 9)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("values", "kind", "factor"),
    [
        (np.zeros((20, 30, 3), np.uint8), "PNG", 28),
        (np.zeros((20, 30, 4), np.uint8), "WEBP", 28),
        (np.zeros((20, 30), np.uint16), "PNG", 36),
        (np.zeros((20, 30), np.int32), "TIFF", 36),
        (np.zeros((20, 30), np.float32), "TIFF", 36),
    ],
)
def test_pixels_count_by_what_they_take_when_decoded(values, kind, factor):
    data = encode(values, kind)
    assert decoded_bytes(open_upload(data, LIMITS)) == 600 * factor
    with pytest.raises(PictureError, match=f"more than {600 * factor - 1} bytes when decoded"):
        open_upload(data, Limits(max_decoded=600 * factor - 1))


def test_pictures_beyond_the_largest_are_refused():
    data = picture_bytes((96, 64))
    with pytest.raises(PictureError, match="more than 6143 pixels"):
        open_upload(data, Limits(max_pixels=96 * 64 - 1))
