"""Decoding of pictures and their conversion to views, which are squares of RGB pixels."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import stat
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmie.data.jpeg_end import complete_jpeg
from mmie.data.picture_formats import HEAD, describe_content, supported_formats
from mmie.data.picture_names import (
    decode_data_uri,
    describe_missing,
    from_foreign_path,
    is_data_uri,
)
from mmie.types import Picture
from mmie.utils.text import first_line

if TYPE_CHECKING:  # the import takes seconds, for which readers of posts must not wait
    from torch import Tensor

ResizeMode = Literal["crop", "squash"]

MAX_PIXELS = 50_000_000
"""Pixels of the largest picture that is decoded by default."""

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""Errors of the operating system for a path under which there is no file."""
_TRUNCATED = "truncated"
_NO_DECODER = re.compile(r"(decoder|codec|support).* not (available|installed)", re.IGNORECASE)
"""What Pillow says of a format for which it was built without a library."""
_CROP_MARGIN = 256 / 224
"""Ratio of the resized short side to the view, as in the evaluation of ImageNet models."""


class PictureError(ValueError):
    """Picture that cannot be used. The message is the reason in a few words."""


class PictureTooLarge(PictureError):
    """Picture of more pixels than the limit."""

    @classmethod
    def at(cls, max_pixels: int) -> Self:
        """Build the error for a limit in pixels."""
        return cls(f"more than {max_pixels} pixels")


class PictureUnavailable(PictureError):
    """Picture file that is missing or cannot be read, which tells nothing about its content.

    Args:
        error: Error of the operating system.
    """

    def __init__(self, error: OSError) -> None:
        if error.errno in _MISSING:
            reason = describe_missing(error.filename)
        elif isinstance(error, PermissionError):
            reason = "no permission to read it"
        else:
            reason = f"cannot be read: {error.strerror}"
        super().__init__(reason)


class PictureUndecided(PictureError):
    """Picture that another machine may decode, where a decoder or memory is lacking."""


@dataclass(frozen=True, slots=True)
class ImageTransform:
    """Conversion of a picture to a view.

    Attributes:
        size: Height and width of a view in pixels.
        resize: How a picture becomes square: see `to_view`.
        max_pixels: Largest picture, in pixels, that is decoded.
    """

    size: int
    resize: ResizeMode = "crop"
    max_pixels: int = MAX_PIXELS

    def load(self, source: Picture) -> Image.Image:
        """Decode a picture.

        Raises:
            PictureError: The picture cannot be used: see `load_picture`.
        """
        return load_picture(source, self.max_pixels)

    @property
    def least_side(self) -> int:
        """Pixels of the short side of a picture that a view is not enlarged from."""
        return math.ceil(self.size * _CROP_MARGIN) if self.resize == "crop" else self.size

    def to_view(self, picture: Image.Image) -> Tensor:
        """Resize a decoded picture to a view, (3, size, size) uint8."""
        return to_view(picture, self.size, self.resize)

    def __call__(self, source: Picture) -> Tensor:
        """Decode a picture and resize it to a view, (3, size, size) uint8.

        Raises:
            PictureError: The picture cannot be used: see `load_picture`.
        """
        return self.to_view(self.load(source))


def load_picture(source: Picture, max_pixels: int = MAX_PIXELS, least_side: int = 0) -> Image.Image:
    """Decode a picture to RGB.

    EXIF orientation is applied, transparent pixels become white, and of several frames the first is
    taken.

    Args:
        source: A file, the bytes of one, a Pillow image, which is not changed, or an array.
        max_pixels: A picture with more pixels is rejected before it is decoded.
        least_side: Pixels of the short side to which a JPEG may be reduced while it is decoded, by
            2, 4 or 8, which takes less time and changes pixels slightly; 0 decodes it whole.

    Raises:
        PictureError: The reason is ``missing``, ``not a picture`` (or of none of `FORMATS`),
            ``truncated`` (or damaged otherwise), or ``more than <n> pixels``. The first two may be
            followed by what the name or the content is.
        PictureUnavailable: The file is missing or cannot be read. It is a `PictureError`.
        PictureUndecided: A decoder or memory is lacking. It is a `PictureError`.
    """
    picture = open_picture(source, max_pixels)
    with nullcontext(picture) if picture is source else picture:
        if least_side and picture is not source:
            # decodes no JPEG below this size, and leaves other formats as they are
            picture.draft(None, (least_side, least_side))
        frame = decode_frame(picture, max_pixels)
        try:
            return _to_rgb(_upright(frame))
        except Exception:  # Pillow raises almost anything on damaged palettes and colour tables
            raise PictureError(_TRUNCATED) from None


def to_view(picture: Image.Image, size: int, mode: ResizeMode = "crop") -> Tensor:
    """Resize a picture to a square view, bicubically with antialiasing.

    Args:
        picture: An RGB picture.
        size: Height and width of the view in pixels.
        mode: ``crop`` resizes the short side to ``size * 256 / 224`` and cuts out the central
            ``size`` pixels both ways; ``squash`` takes all of the picture and ignores its
            proportions.

    Returns:
        (3, size, size) uint8 RGB.
    """
    import torch

    box = _crop_box(picture.size) if mode == "crop" else None
    view = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
    pixels = torch.from_numpy(np.array(view))  # (size, size, 3)
    return pixels.permute(2, 0, 1).contiguous()  # (3, size, size)


def open_picture(source: Picture, max_pixels: int) -> Image.Image:
    """Read the header of a picture without decoding it.

    Args:
        source: A file, the bytes of one, a Pillow image, which is returned as it is, or an array.
        max_pixels: Largest picture that is accepted.

    Raises:
        PictureError: The picture cannot be used: see `load_picture`.
    """
    picture = source if isinstance(source, Image.Image) else _read_header(source, max_pixels)
    if picture.width * picture.height > max_pixels:
        if picture is not source:
            picture.close()
        raise PictureTooLarge.at(max_pixels)
    if 0 in picture.size:
        raise PictureError("not a picture: no pixels")
    return picture


def decode_frame(picture: Image.Image, max_pixels: int) -> Image.Image:
    """Read all of the first frame, which may be larger than the header of a container states.

    Returns:
        The picture; another one if it is a JPEG without its last bytes whose pixels are all there.

    Raises:
        PictureError: The data is damaged.
        PictureUnavailable: The file cannot be read.
        PictureUndecided: A decoder or memory is lacking.
        PictureTooLarge: The frame has more than ``max_pixels`` pixels.
    """
    try:
        picture.load()
    except Exception as error:  # Pillow's plugins raise almost anything on damaged data
        reason = _damage(error)
        complete = _complete(picture) if str(reason) == _TRUNCATED else None
        if complete is None:
            raise reason from None
        picture = complete
    if picture.width * picture.height > max_pixels:
        raise PictureTooLarge.at(max_pixels)
    return picture


def _complete(picture: Image.Image) -> Image.Image | None:
    """Decode a JPEG of which only bytes behind the last pixel are missing, or return None."""
    stream = getattr(picture, "fp", None)
    if picture.format != "JPEG" or stream is None:
        return None
    try:
        stream.seek(0)
        return complete_jpeg(stream.read())
    except (OSError, ValueError):
        return None


def _read_header(source: Path | str | bytes | np.ndarray[Any, Any], max_pixels: int) -> Image.Image:
    """Open a file, the bytes of one or an array without decoding it.

    Raises:
        PictureError: The source is not a picture.
        PictureUnavailable: The file is missing or cannot be opened.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if not isinstance(source, Path | str | bytes):
        # Pillow would take a number for an open file
        raise PictureError(f"not a picture: {type(source).__name__}")
    if isinstance(source, str):
        source = _resolve_uri(source)
    if not isinstance(source, bytes):
        check_regular(source)
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        return Image.open(stream, formats=supported_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # Pillow has a limit of its own, at twice MAX_IMAGE_PIXELS
        limit = 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)
        raise PictureTooLarge.at(min(max_pixels, limit)) from None
    except UnidentifiedImageError:
        content = _describe(source)
        raise PictureError(f"not a picture: {content}" if content else "not a picture") from None
    except Exception as error:  # Pillow's plugins raise almost anything on a damaged header
        raise _damage(error) from None


def _resolve_uri(name: str) -> str | bytes:
    """Return the path of a ``file:`` URI, the bytes of a ``data:`` URI, or all else unchanged.

    Raises:
        PictureError: A ``data:`` URI is damaged.
    """
    if not is_data_uri(name):
        return from_foreign_path(name, Path())
    try:
        return decode_data_uri(name)
    except ValueError as error:
        raise PictureError(f"not a picture: {error}") from None


def _describe(source: Path | str | bytes) -> str:
    """Say what a file is that is no picture, or return "" if it is unknown."""
    if isinstance(source, bytes):
        return describe_content(source[:HEAD])
    try:
        with open(source, "rb") as stream:
            return describe_content(stream.read(HEAD))
    except OSError:
        return ""


def check_regular(path: Path | str) -> os.stat_result:
    """Return the status of a picture file.

    Raises:
        PictureError: The path is that of a folder or a device.
        PictureUnavailable: The file is missing, or its folder cannot be searched.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise PictureUnavailable(error) from None
    except ValueError:  # a path with a null character
        raise PictureUnavailable(FileNotFoundError(errno.ENOENT, "")) from None
    if not stat.S_ISREG(status.st_mode):
        raise PictureError("not a picture")
    return status


def _damage(error: Exception) -> PictureError:
    """Convert what Pillow raised while it read a picture.

    An error of the operating system has a number. Pillow's own errors about damaged data have none,
    and a damaged offset makes it seek where no file can have bytes.
    """
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EOVERFLOW):
        return PictureUnavailable(error)
    if isinstance(error, MemoryError):
        return PictureUndecided("no memory to decode it")
    if isinstance(error, ImportError) or _NO_DECODER.search(str(error)):
        return PictureUndecided(f"cannot be decoded here: {first_line(error)}")
    return PictureError(_TRUNCATED)


def _from_array(values: np.ndarray[Any, Any]) -> Image.Image:
    """Convert a uint8 array (height, width), or (height, width, channels) with 1, 3 or 4 channels.

    Raises:
        PictureError: The array has another type or shape.
    """
    has_channels = values.ndim == 3 and values.shape[2] in (1, 3, 4)
    if values.dtype != np.uint8 or values.size == 0 or not (values.ndim == 2 or has_channels):
        raise PictureError(f"not a picture: an array of {values.dtype} and shape {values.shape}")
    if has_channels and values.shape[2] == 1:
        values = values[:, :, 0]
    return Image.fromarray(values)


def _upright(picture: Image.Image) -> Image.Image:
    """Apply the EXIF orientation, unless the EXIF data is damaged."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # Pillow raises almost anything on damaged EXIF data
        return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Convert to RGB in a copy that needs no file."""
    if picture.mode.startswith(("I", "F")):
        picture = _deep_to_grey(picture)
    if picture.mode == "La":  # Pillow converts it to LA alone
        picture = picture.convert("LA")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _deep_to_grey(picture: Image.Image) -> Image.Image:
    """Scale a greyscale picture of 16 or 32 bits or of floats to 8 bits.

    Pillow's own conversion would clip the values.
    """
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64)).clip(min=0)  # (height, width)
    peak = values.max(initial=0)
    depths = (65535,) if picture.mode.startswith("I;16") else (1, 255, 65535)
    white = next((depth for depth in depths if peak <= depth), peak)
    return Image.fromarray((values * (255 / white)).round().astype(np.uint8))


def _crop_box(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Compute the square that ``crop`` takes of a picture.

    Args:
        size: Width and height of the picture.

    Returns:
        Left, top, right and bottom.
    """
    width, height = size
    side = min(width, height) / _CROP_MARGIN
    left = (width - side) / 2
    top = (height - side) / 2
    return left, top, left + side, top + side
