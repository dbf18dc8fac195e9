"""Pictures for tests, and files that are no pictures."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

GROUPS = ("PER", "LOC", "ORG", "NONE")
"""Folders of `write_photographs`."""


def gradient_picture(width: int = 60, height: int = 40) -> Image.Image:
    """A gradient from red at the top to blue, which survives lossy formats and shows rotations."""
    down = np.linspace(0, 1, height)[:, None, None]  # (height, 1, 1)
    pixels = (1 - down) * np.array([220, 30, 40]) + down * np.array([20, 50, 210])  # (height, 1, 3)
    return Image.fromarray(np.broadcast_to(pixels, (height, width, 3)).astype(np.uint8).copy())


def noise_picture(width: int, height: int) -> Image.Image:
    """Random pixels."""
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def save_picture(path: Path, picture: Image.Image, **options: object) -> Path:
    """Save a picture and return its file."""
    picture.save(path, **options)
    return path


def encode_picture(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of a picture file."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def write_bad_files(folder: Path) -> dict[Path, str]:
    """Write files that are no usable pictures, and return them with the expected reasons."""
    folder.mkdir(exist_ok=True)
    jpeg = encode_picture(noise_picture(200, 200), "JPEG", quality=95)
    png = encode_picture(noise_picture(50, 50), "PNG")
    contents = {
        "half.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "almost.jpg": (jpeg[:-200], "truncated"),
        "half.png": (png[: len(png) // 2], "truncated"),
        "garbled.png": (png[:60] + bytes(40) + png[100:], "truncated"),
        "empty.jpg": (b"", "not a picture: an empty file"),
        "text.jpg": (b"<html>Image Not Found</html>", "not a picture: an HTML page"),
        "large.png": (
            encode_picture(Image.new("L", (501, 100)), "PNG"),
            "more than 50000 pixels",
        ),
    }
    expected = {}
    for name, (content, reason) in contents.items():
        (folder / name).write_bytes(content)
        expected[folder / name] = reason
    (folder / "folder.jpg").mkdir(exist_ok=True)
    expected[folder / "folder.jpg"] = "not a picture"
    expected[folder / "gone.jpg"] = "missing"
    return expected


def write_photographs(folder: Path, groups: Sequence[str] = GROUPS, count: int = 6) -> Path:
    """Write pictures of different colours into a folder for each group."""
    for index, group in enumerate(groups):
        (folder / group).mkdir(parents=True)
        for number in range(count):
            colour = (30 * index, 10 * number, 5)
            save_picture(folder / group / f"{number}.png", Image.new("RGB", (8, 8), colour))
    return folder


COLOURS = ("red", "lime", "blue", "yellow", "cyan", "magenta", "black", "white")


def animation(
    kind: str, colours: Sequence[str] = COLOURS, size: tuple[int, int] = (16, 16)
) -> bytes:
    """Return the bytes of an animation with a frame of each colour."""
    first, *others = [Image.new("RGB", size, colour) for colour in colours]
    options = {"lossless": True} if kind == "WEBP" else {}
    return encode_picture(
        first, kind, save_all=True, append_images=others, duration=100, loop=0, **options
    )


def video(colours: Sequence[str] = COLOURS, kind: str = "mp4", repeats: int = 5) -> bytes:
    """Return the bytes of a video that shows each colour in some frames, with few key frames."""
    import av

    stream = io.BytesIO()
    with av.open(stream, "w", format=kind) as container:
        encoder = container.add_stream("mpeg4", rate=10)
        encoder.width = encoder.height = 32
        encoder.pix_fmt = "yuv420p"
        encoder.gop_size = 12
        for colour in colours:
            for _ in range(repeats):
                frame = av.VideoFrame.from_image(Image.new("RGB", (32, 32), colour))
                container.mux(encoder.encode(frame))
        container.mux(encoder.encode())
    return stream.getvalue()


def colours_of(pictures: Sequence[Image.Image]) -> list[str]:
    """Name the colour of `COLOURS` that is nearest to the middle of each picture."""
    named = {name: np.array(ImageColor.getrgb(name)) for name in COLOURS}
    names = []
    for picture in pictures:
        pixel = np.array(picture.getpixel((picture.width // 2, picture.height // 2)))
        names.append(min(named, key=lambda name: int(np.abs(named[name] - pixel).sum())))
    return names
