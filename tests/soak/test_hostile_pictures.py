"""Pictures of every kind, whole, damaged and malicious: each is decoded, or reported in time."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.hostile import damaged, limited_examples
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from mmie.data.picture_audit import audit_pictures
from mmie.data.pictures import PictureError, load_picture, to_view

pytestmark = pytest.mark.slow

REASONS = ("missing", "not a picture", "truncated", "more than")
SECONDS = 20
"""Longest time for a picture of these sizes, on a busy machine."""
MODES = (
    "1",
    "L",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "LA",
    "PA",
    "RGBX",
    "RGBa",
    "La",
    "I;16",
    "I;16B",
    "I;16L",
)
FORMATS = {
    "PNG": ("1", "L", "P", "RGB", "RGBA", "LA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("1", "L", "P"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK", "LAB", "I", "F", "I;16", "LA"),
    "BMP": ("1", "L", "P", "RGB"),
    "PPM": ("1", "L", "RGB", "I"),
    "ICO": ("RGBA",),
    "JPEG2000": ("L", "RGB", "RGBA"),
    "MPO": ("RGB",),
}


EXIF_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")


def noise_picture(mode: str, size: tuple[int, int] = (23, 17)) -> Image.Image:
    """Make a picture of noise in a mode."""
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    if mode in ("La", "RGBa", "PA", "LAB", "HSV", "YCbCr", "RGBX") or ";" in mode:
        num_bytes = len(Image.new(mode, size).tobytes())
        return Image.frombytes(mode, size, noise.tobytes()[:num_bytes])
    picture = Image.fromarray(noise, "RGBA")
    if mode in ("CMYK", "I", "F", "P", "1", "L"):
        picture = picture.convert("RGB")
    return picture.convert(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of a picture file."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def with_exif(kind: str) -> bytes:
    """Return a picture file with an orientation, a description and a date in its EXIF data."""
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010E: "a text", 0x0132: "2020:01:01 00:00:00"})
    return encoded(noise_picture("RGB"), kind, exif=exif)


def make_sources() -> dict[str, bytes]:
    """Return a picture file of each format and mode, and of special features of formats."""
    sources = {}
    for kind, modes in FORMATS.items():
        for mode in modes:
            sources[f"{kind} {mode}"] = encoded(noise_picture(mode), kind)
    for kind in EXIF_FORMATS:
        sources[f"{kind} with EXIF"] = with_exif(kind)
    indexed, colour, grey = noise_picture("P"), noise_picture("RGB"), noise_picture("I;16")
    sources["animated"] = encoded(indexed, "GIF", save_all=True, append_images=[indexed] * 3)
    sources["transparent index"] = encoded(indexed, "PNG", transparency=3)
    sources["transparent bytes"] = encoded(indexed, "PNG", transparency=bytes(range(9)))
    sources["transparent colour"] = encoded(colour, "PNG", transparency=(1, 2, 3))
    sources["transparent grey, 16 bit"] = encoded(grey, "PNG", transparency=3)
    return sources


SOURCES = make_sources()


def try_picture(source: object, max_pixels: int = 10_000) -> str:
    """Decode a picture and check its views.

    Args:
        source: The picture in any form.
        max_pixels: Largest number of pixels.

    Returns:
        The reason why it cannot be decoded; empty if it can.
    """
    start = time.monotonic()
    try:
        picture = load_picture(source, max_pixels)
    except PictureError as error:
        reason = str(error)
        assert reason.startswith(REASONS)
        return reason
    finally:
        assert time.monotonic() - start < SECONDS
    assert picture.mode == "RGB"
    assert picture.width * picture.height <= max_pixels
    for resize in ("crop", "squash"):
        view = to_view(picture, 32, resize)
        assert (view.shape, view.dtype) == ((3, 32, 32), torch.uint8)
    return ""


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file: length, kind, content and checksum."""
    length = struct.pack(">I", len(content))
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return length + kind + content + checksum


def decompression_bomb(width: int, height: int, chunks: bytes = b"") -> bytes:
    """Return a PNG file of few bytes that claims to be a large picture.

    Args:
        width: Width in its header.
        height: Height in its header.
        chunks: Further chunks.
    """
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000, 9)
    parts = [
        b"\x89PNG\r\n\x1a\n",
        png_chunk(b"IHDR", header),
        chunks,
        png_chunk(b"IDAT", pixels),
        png_chunk(b"IEND", b""),
    ]
    return b"".join(parts)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_is_decoded(name):
    assert try_picture(SOURCES[name]) == ""


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_decoded_in_extreme_shapes(mode, size):
    assert try_picture(noise_picture(mode, size)) == ""


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_reported(size):
    assert try_picture(Image.new("RGB", size)) == "not a picture: no pixels"


@pytest.mark.filterwarnings("ignore")
@limited_examples()
@given(choice=st.data())
def test_damaged_pictures(choice):
    source = SOURCES[choice.draw(st.sampled_from(sorted(SOURCES)))]
    length = choice.draw(st.none() | st.integers(0, len(source)))
    try_picture(choice.draw(damaged(source))[:length])


@pytest.mark.filterwarnings("ignore")
@limited_examples()
@given(choice=st.data(), kind=st.sampled_from(EXIF_FORMATS))
def test_damaged_exif(choice, kind):
    """Bytes of the EXIF data are changed, and the pixels stay valid."""
    content = bytearray(SOURCES[f"{kind} with EXIF"])
    start = max(content.find(b"MM\0*"), content.find(b"II*\0"))
    for _ in range(choice.draw(st.integers(1, 4))):
        index = start + choice.draw(st.integers(0, 120))
        content[min(index, len(content) - 1)] = choice.draw(st.integers(0, 255))
    try_picture(bytes(content))


@pytest.mark.filterwarnings("ignore")
@limited_examples()
@given(
    data=st.binary(max_size=200),
    start=st.sampled_from([source[:24] for source in SOURCES.values()]),
)
@example(data=b"", start=b"")
def test_files_that_only_begin_like_a_picture(data, start):
    try_picture(start + data)


UNREADABLE = (
    Path("a\0b"),
    Path("x" * 5000),
    Path("/"),
    "",
    b"",
    Path("/dev/null"),
    "\ud800",
)


@pytest.mark.filterwarnings("ignore")
@limited_examples(20)
@given(
    kind=st.sampled_from([np.uint8, np.int64, np.float32, np.bool_, np.uint16]),
    shape=st.lists(st.integers(0, 5), max_size=5),
    unreadable=st.sampled_from(UNREADABLE),
)
def test_arrays_and_paths(kind, shape, unreadable):
    has_channels = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    is_picture = kind == np.uint8 and has_channels and 0 not in shape
    assert (try_picture(np.zeros(shape, kind)) == "") == is_picture
    assert try_picture(unreadable)


@pytest.mark.parametrize(
    "size", [(101, 100), (20_000, 20_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1)]
)
def test_a_decompression_bomb_is_not_decoded(size, tmp_path):
    content = decompression_bomb(*size)
    assert try_picture(content).startswith("more than")
    file = tmp_path / "bomb.png"
    file.write_bytes(content)
    assert audit_pictures([file], 10_000)[file].startswith("more than")


def test_a_text_chunk_is_not_decompressed_without_limit():
    text = b"a\0\0" + zlib.compress(b"\0" * 50_000_000, 9)
    chunks = png_chunk(b"zTXt", text) * 4
    assert try_picture(decompression_bomb(10, 10, chunks)) in ("", "truncated")


def test_the_picture_inside_an_icon_is_measured():
    # the picture may be larger than the icon's header claims
    picture = encoded(Image.new("RGB", (400, 400)), "PNG")
    header = struct.pack("<HHH", 0, 1, 1)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(picture), 22)
    assert try_picture(header + entry + picture).startswith("more than")


def test_postscript_is_no_picture(tmp_path):
    """Pillow would pass it to an interpreter that runs programs."""
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"
    assert try_picture(program) == "not a picture: a PostScript file"
    file = tmp_path / "a.jpg"
    file.write_bytes(program)
    assert audit_pictures([file]) == {file: "not a picture: a PostScript file"}


def test_pictures_that_pass_the_audit_are_decoded(tmp_path, rounds):
    # the audit decodes less of a file than reading does
    random = np.random.default_rng(0)
    files = []
    for number, (name, source) in enumerate(list(SOURCES.items()) * rounds(4, 40)):
        content = bytearray(source)
        for index in random.integers(0, len(content), number % 4):
            content[index] = random.integers(0, 256)
        file = tmp_path / f"{number} {name}"
        file.write_bytes(content)
        files.append(file)
    reasons = audit_pictures(files)
    for file in files:
        if file not in reasons:
            assert try_picture(file, 10**8) == "", file
    assert 0 < len(reasons) < len(files)
