"""Pictures of every kind, whole, damaged and malicious: each is decoded or named by a reason, within limits."""

import io
import itertools
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

REASONS = ("missing", "not a picture", "truncated", "more than")
SECONDS = 20
"""More than any picture of these sizes may take, on a machine that is busy with other things."""
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


def picture_of(mode: str, size: tuple[int, int] = (23, 17)) -> Image.Image:
    """A picture of noise in a mode."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    whole = Image.fromarray(noise, "RGBA")
    if mode in ("La", "RGBa", "PA", "LAB", "HSV", "YCbCr", "RGBX") or ";" in mode:
        return Image.frombytes(mode, size, noise.tobytes()[: len(Image.new(mode, size).tobytes())])
    return (
        whole.convert("RGB").convert(mode)
        if mode in ("CMYK", "I", "F", "P", "1", "L")
        else whole.convert(mode)
    )


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def with_exif(kind: str) -> bytes:
    """A picture with an orientation, a thumbnail's place and a text in its EXIF data."""
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010E: "a text", 0x0132: "2020:01:01 00:00:00"})
    return saved(picture_of("RGB"), kind, exif=exif)


SOURCES = {
    f"{kind} {mode}": saved(picture_of(mode), kind)
    for kind, modes in FORMATS.items()
    for mode in modes
}
SOURCES |= {f"{kind} with EXIF": with_exif(kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF")}
SOURCES["animated"] = saved(
    picture_of("P"), "GIF", save_all=True, append_images=[picture_of("P", (23, 17))] * 3
)
SOURCES["transparent index"] = saved(picture_of("P"), "PNG", transparency=3)
SOURCES["transparent bytes"] = saved(picture_of("P"), "PNG", transparency=bytes(range(9)))
SOURCES["transparent colour"] = saved(picture_of("RGB"), "PNG", transparency=(1, 2, 3))
SOURCES["transparent grey, 16 bit"] = saved(picture_of("I;16"), "PNG", transparency=3)


def try_picture(source: object, max_pixels: int = 10_000) -> str:
    """How a picture fares: "" if it is decoded and becomes a view, else the reason."""
    started = time.monotonic()
    try:
        picture = load_picture(source, max_pixels)
    except PictureError as error:
        reason = str(error)
        assert reason.startswith(REASONS)
        return reason
    finally:
        assert time.monotonic() - started < SECONDS
    assert picture.mode == "RGB"
    assert picture.width * picture.height <= max_pixels
    for mode in ("crop", "squash"):
        view = to_view(picture, 32, mode)
        assert (view.shape, view.dtype) == ((3, 32, 32), torch.uint8)
    return ""


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def bomb(width: int, height: int, chunks: bytes = b"") -> bytes:
    """A PNG of few bytes that claims to be a large picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000, 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunks
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_is_read(name):
    assert try_picture(SOURCES[name]) == ""


@pytest.mark.parametrize(
    ("mode", "size"), list(itertools.product(MODES, [(1, 1), (1, 3000), (3000, 1), (2, 2)]))
)
def test_every_mode_and_extreme_shape(mode, size):
    assert try_picture(picture_of(mode, size)) == ""


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_no_pixels(size):
    assert try_picture(Image.new("RGB", size)) == "not a picture: no pixels"


@pytest.mark.filterwarnings("ignore")
@limited_examples()
@given(choice=st.data())
def test_damaged_pictures(choice):
    whole = SOURCES[choice.draw(st.sampled_from(sorted(SOURCES)))]
    cut = choice.draw(st.none() | st.integers(0, len(whole)))
    try_picture(choice.draw(damaged(whole))[:cut])


@pytest.mark.filterwarnings("ignore")
@limited_examples()
@given(choice=st.data(), kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF"]))
def test_damaged_exif(choice, kind):
    """Bytes are changed where the EXIF data lie; the pixels stay sound."""
    whole = bytearray(SOURCES[f"{kind} with EXIF"])
    start = max(whole.find(b"MM\0*"), whole.find(b"II*\0"))
    for _ in range(choice.draw(st.integers(1, 4))):
        place = start + choice.draw(st.integers(0, 120))
        whole[min(place, len(whole) - 1)] = choice.draw(st.integers(0, 255))
    try_picture(bytes(whole))


@pytest.mark.filterwarnings("ignore")
@limited_examples()
@given(
    data=st.binary(max_size=200), start=st.sampled_from([whole[:24] for whole in SOURCES.values()])
)
@example(data=b"", start=b"")
def test_what_only_begins_like_a_picture(data, start):
    try_picture(start + data)


@pytest.mark.filterwarnings("ignore")
@limited_examples(20)
@given(
    kind=st.sampled_from([np.uint8, np.int64, np.float32, np.bool_, np.uint16]),
    shape=st.lists(st.integers(0, 5), max_size=5),
    wrong=st.sampled_from(
        [Path("a\0b"), Path("x" * 5000), Path("/"), "", b"", Path("/dev/null"), "\ud800"]
    ),
)
def test_arrays_and_paths(kind, shape, wrong):
    reason = try_picture(np.zeros(shape, kind))
    is_picture = (
        kind == np.uint8
        and len(shape) in (2, 3)
        and (shape[2:] or [1])[0] in (1, 3, 4)
        and 0 not in shape
    )
    assert (reason == "") == is_picture
    assert try_picture(wrong)


@pytest.mark.parametrize(
    "size", [(101, 100), (20_000, 20_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1)]
)
def test_bomb(size, tmp_path):
    assert try_picture(bomb(*size)).startswith("more than")
    (tmp_path / "bomb.png").write_bytes(bomb(*size))
    assert audit_pictures([tmp_path / "bomb.png"], 10_000)[tmp_path / "bomb.png"].startswith(
        "more than"
    )


def test_bomb_of_a_text():
    """A text chunk that swells is given up, not swallowed."""
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 50_000_000, 9)) * 4
    assert try_picture(bomb(10, 10, text)) in ("", "truncated")


def test_bomb_within_an_icon():
    """What an icon holds may be larger than the icon says."""
    inner = saved(Image.new("RGB", (400, 400)), "PNG")
    header = struct.pack("<HHH", 0, 1, 1) + struct.pack(
        "<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22
    )
    assert try_picture(header + inner).startswith("more than")


def test_postscript_is_no_picture(tmp_path):
    """Pillow would hand it to an interpreter that runs programs."""
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"
    assert try_picture(program) == "not a picture"
    (tmp_path / "a.jpg").write_bytes(program)
    assert audit_pictures([tmp_path / "a.jpg"]) == {tmp_path / "a.jpg": "not a picture"}


def test_what_is_audited_as_sound_is_read(tmp_path, rounds):
    """The audit decodes less of a file than reading does; whatever passes it must be read."""
    random = np.random.default_rng(0)
    files = []
    for number, (name, whole) in enumerate(list(SOURCES.items()) * rounds(4, 40)):
        content = bytearray(whole)
        for place in random.integers(0, len(content), number % 4):
            content[place] = random.integers(0, 256)
        files.append(tmp_path / f"{number} {name}")
        files[-1].write_bytes(content)
    reasons = audit_pictures(files)
    for file in files:
        if file not in reasons:
            assert try_picture(file, 10**8) == "", file
    assert 0 < len(reasons) < len(files)
