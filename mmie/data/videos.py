"""Frames of video files, decoded by PyAV (extra ``video``).

A file is given to the demuxer of the container that its first bytes name, and as an open stream.
FFmpeg would otherwise try all its demuxers, some of which read other files and addresses that a
playlist names.
"""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from mmie.data.picture_formats import COMMON_SUFFIXES, PICTURE_BRANDS
from mmie.data.pictures import PictureError, PictureTooLarge, PictureUnavailable, check_regular
from mmie.utils.optional import MissingPackageError, require

MAX_DECODED = 40
"""Pictures of the largest size that the decoded frames of one file may amount to."""
_HEAD = 12
"""Bytes that tell the container."""
_TICKS = 1_000_000
"""Ticks of a second in the duration of a container."""


def video_container(source: Path | str | bytes) -> str | None:
    """Return FFmpeg's name of the container of a video, or None for any other file.

    >>> video_container(bytes.fromhex("0000001c") + b"ftypisom")
    'mp4'

    Args:
        source: A file, or the bytes of one. A file that cannot be read is no video, nor is one that
            is named as a picture.
    """
    if not isinstance(source, bytes) and Path(source).suffix.lower() in COMMON_SUFFIXES:
        return None
    head = source[:_HEAD] if isinstance(source, bytes) else _read_head(source)
    if head[4:8] == b"ftyp" and head[8:] not in PICTURE_BRANDS:
        return "mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"  # WebM, too
    if head.startswith(b"RIFF") and head[8:] == b"AVI ":
        return "avi"
    return None


def video_frames(source: Path | str | bytes, count: int, max_pixels: int) -> list[Image.Image]:
    """Decode evenly spaced frames of a video to upright RGB, the first one included.

    A frame is decoded from the key frame before it on. Decoding ends early, with the frames so far,
    where all that is decoded amounts to more than `MAX_DECODED` pictures of ``max_pixels``.

    Args:
        source: A file for which `video_container` is not None, or the bytes of one.
        count: Number of frames. A video of fewer frames gives fewer.
        max_pixels: A video whose frames have more pixels is rejected before it is decoded.

    Raises:
        PictureError: PyAV is not installed, the frames have more than ``max_pixels`` pixels, or
            none can be decoded.
    """
    try:
        av = require("av", "video")
    except MissingPackageError as error:
        raise PictureError(f"a video: {error}") from None
    frames: list[Image.Image] = []
    try:
        with ExitStack() as stack:
            stream = stack.enter_context(_open_stream(source))
            opened = av.open(stream, format=video_container(source), metadata_errors="ignore")
            for frame in _spaced_frames(stack.enter_context(opened), count, max_pixels):
                frames.append(_to_upright(frame))
    except PictureError:
        raise
    except Exception:  # FFmpeg reports almost any error on damaged data
        if not frames:
            raise PictureError("truncated") from None
    if not frames:
        raise PictureError("a video without frames")
    return frames


def _spaced_frames(container: Any, count: int, max_pixels: int) -> Iterator[Any]:
    """Yield the frames at the beginnings of ``count`` equally long parts of a video.

    Raises:
        PictureTooLarge: The frames have more than ``max_pixels`` pixels.
    """
    if not container.streams.video:
        return
    stream = container.streams.video[0]
    num_pixels = stream.codec_context.width * stream.codec_context.height
    if num_pixels > max_pixels:
        raise PictureTooLarge.at(max_pixels)
    start, length = stream.start_time or 0, stream.duration
    if length is None:  # that of the file, in the time base of the stream
        length = int((container.duration or 0) / _TICKS / stream.time_base)
    budget, last = MAX_DECODED * max_pixels, None
    for part in range(count):
        target = start + part * length // count
        if part:
            container.seek(target, stream=stream)
        for frame in container.decode(stream):
            budget -= frame.width * frame.height
            if budget < 0:
                return
            if frame.width * frame.height > max_pixels:
                raise PictureTooLarge.at(max_pixels)
            if frame.pts is None or frame.pts >= target:
                break
        else:
            return
        if frame.pts is None or frame.pts != last:
            yield frame
        last = frame.pts


def _to_upright(frame: Any) -> Image.Image:
    """Convert a frame to a picture, turned as its metadata says."""
    picture: Image.Image = frame.to_image()
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


def _open_stream(source: Path | str | bytes) -> BinaryIO:
    """Open a file, or the bytes of one.

    Raises:
        PictureUnavailable: The file is missing, or cannot be read.
    """
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise PictureUnavailable(error) from None


def _read_head(path: Path | str) -> bytes:
    """Read the first bytes of a file, none if it cannot be read."""
    try:
        check_regular(path)
        with Path(path).open("rb") as stream:
            return stream.read(_HEAD)
    except (OSError, PictureError):
        return b""
