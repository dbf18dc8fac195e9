"""Decoding of the pictures of a post: animations and videos give several, their frames."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mmie.data.pictures import PictureError, load_picture, open_picture
from mmie.data.videos import MAX_DECODED, video_container, video_frames
from mmie.types import Picture

FORMATS = ("AVIF", "GIF", "PNG", "WEBP")
"""Formats whose further frames follow in time. Those of others are pages, sizes or depth maps."""


def load_frames(
    source: Picture, count: int, max_pixels: int, least_side: int = 0
) -> list[Image.Image]:
    """Decode a picture to RGB, or evenly spaced frames of an animation or a video.

    Frame i is the first one of the i-th of ``count`` equally long parts, so that the first frame is
    always among them. Of a damaged animation it may be the only one. Frames beyond the first ones
    that amount to `MAX_DECODED` pictures of ``max_pixels`` are left out.

    Args:
        source: A picture. A Pillow image and an array are still pictures.
        count: Most frames to decode.
        max_pixels: A picture with more pixels is rejected before it is decoded.
        least_side: See `load_picture`.

    Raises:
        PictureError: The picture cannot be used, see `load_picture`, or it is a video and PyAV is
            not installed.
    """
    if _is_video(source):
        return video_frames(source, count, max_pixels)  # type: ignore[arg-type]
    first = load_picture(source, max_pixels, least_side)
    if count == 1 or isinstance(source, Image.Image):
        return [first]
    frames = [first]
    with open_picture(source, max_pixels) as picture:
        for number in _frame_numbers(picture, count, max_pixels)[1:]:
            try:
                picture.seek(number)
                frames.append(load_picture(picture.copy(), max_pixels))
            except Exception:  # Pillow raises almost anything on damaged frames
                break
    return frames


def is_moving(source: Picture, max_pixels: int) -> bool:
    """Tell whether a picture has several frames, by its header.

    Args:
        source: A picture. One that cannot be read has none.
        max_pixels: A picture with more pixels cannot be read.
    """
    if isinstance(source, Image.Image):
        return False
    if _is_video(source):
        return True
    try:
        with open_picture(source, max_pixels) as picture:
            return len(_frame_numbers(picture, 2, max_pixels)) > 1
    except PictureError:
        return False


def share_views(sources: Sequence[Picture], num_images: int, max_pixels: int) -> list[int]:
    """Return how many of a post's views each of its pictures takes.

    Every picture takes one, the first pictures if they are more than the views. Views that are left
    over are shared evenly among animations and videos, the first of which take the remainder.

    Args:
        sources: The pictures of a post.
        num_images: Views for pictures.
        max_pixels: A picture with more pixels cannot be read.
    """
    shares = [1] * min(len(sources), num_images)
    left = num_images - len(shares)
    moving: list[int] = []
    if left:
        moving = [n for n, source in enumerate(sources) if is_moving(source, max_pixels)]
    for order, number in enumerate(moving):
        shares[number] += left // len(moving) + (order < left % len(moving))
    return shares


def _is_video(source: Picture) -> bool:
    """Tell whether a picture is a file of a video, or the bytes of one."""
    return isinstance(source, Path | str | bytes) and video_container(source) is not None


def _frame_numbers(picture: Image.Image, count: int, max_pixels: int) -> list[int]:
    """Return the numbers of up to ``count`` evenly spaced frames of an opened picture."""
    try:
        num_frames = getattr(picture, "n_frames", 1) if picture.format in FORMATS else 1
    except Exception:  # Pillow raises almost anything on damaged frames
        num_frames = 1
    num_frames = min(num_frames, MAX_DECODED * max_pixels // (picture.width * picture.height))
    count = min(count, num_frames)
    return [part * num_frames // count for part in range(count)]
