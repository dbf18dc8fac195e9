"""Picture files to views, and which files are no pictures."""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mmie.types import Picture

ResizeMode = Literal["crop", "squash"]

MAX_PIXELS = 50_000_000
"""Pixels of the largest picture that is decoded, unless the caller says otherwise."""

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF",
           "WEBP")  # fmt: skip
"""Formats that are decoded, as far as Pillow can here. Of the others that it knows, EPS is a program that it runs."""

_CROP_MARGIN = 256 / 224
"""The short side is resized to this much more than the view, as ImageNet models are evaluated."""
_PROGRESS_FROM = 500
_DRAFT_SIDE = 64
_FORGET = -1


class PictureError(ValueError):
    """A picture cannot be used; the message is the reason in a few words."""


class _Checked(NamedTuple):
    """What is known of a picture file: its state, its pixels, why it is unreadable, or else what it holds."""

    size: int
    mtime_ns: int
    pixels: int
    reason: str
    digest: str


@dataclass(frozen=True, slots=True)
class ImageTransform:
    """Conversion of a picture to a view: a square of RGB pixels.

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

    def to_view(self, picture: Image.Image) -> Tensor:
        """Resize a decoded picture to a view, (3, size, size) uint8."""
        return to_view(picture, self.size, self.resize)

    def __call__(self, source: Picture) -> Tensor:
        """Decode a picture and resize it to a view, (3, size, size) uint8.

        Raises:
            PictureError: The picture cannot be used: see `load_picture`.
        """
        return self.to_view(self.load(source))


def load_picture(source: Picture, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A picture upright, in RGB; the first frame if it has several; on white where it is transparent.

    Args:
        source: A file, the bytes of one, a Pillow image, which stays as it is, or an array.
        max_pixels: A picture with more pixels is refused before it is decoded.

    Raises:
        PictureError: ``missing``, ``not a picture`` (or in none of `FORMATS`), ``truncated`` (or damaged otherwise),
            ``more than <n> pixels``.
    """
    picture = _opened(source, max_pixels)
    with nullcontext(picture) if picture is source else picture:
        _decode(picture, max_pixels)
        try:
            return _to_rgb(_upright(picture))
        except Exception:  # Pillow raises almost anything on damaged palettes and colour tables
            raise PictureError("truncated") from None


def to_view(picture: Image.Image, size: int, mode: ResizeMode = "crop") -> Tensor:
    """A square view of a picture, resampled bicubically with antialiasing.

    Args:
        picture: An RGB picture.
        size: Height and width of the view in pixels.
        mode: ``crop`` takes the centre: what remains of the picture when its short side is resized to
            ``size * 256 / 224`` and ``size`` pixels are cut out both ways; ``squash`` takes all of the picture and
            ignores its proportions.

    Returns:
        (3, size, size) uint8 RGB.
    """
    box = _centre(picture.size) if mode == "crop" else None
    view = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
    pixels = torch.from_numpy(np.array(view))  # (size, size, 3)
    return pixels.permute(2, 0, 1).contiguous()  # (3, size, size)


def audit_pictures(
    paths: Iterable[Path], max_pixels: int = MAX_PIXELS, workers: int | None = None
) -> dict[Path, str]:
    """Which files cannot be used as pictures, and why; every distinct file is decoded fully once.

    Results are remembered between runs in ``$MMIE_CACHE`` (or ``~/.cache/mmie``), by path, size and time of change. A
    file that is missing is looked for again each time.

    Args:
        paths: Picture files.
        max_pixels: A picture with more pixels counts as unreadable.
        workers: Threads; None takes one per core, 8 at most.

    Returns:
        Reasons as `load_picture` gives them, by path, in the order of ``paths``.
    """
    checked = _survey(paths, max_pixels, workers)
    reasons = {path: _verdict(result, max_pixels) for path, result in checked.items()}
    return {path: reason for path, reason in reasons.items() if reason}


def picture_digests(paths: Iterable[Path], max_pixels: int = MAX_PIXELS) -> dict[Path, str]:
    """SHA-256 of the content of every file that can be used as a picture, by path; the others are left out.

    Files that `audit_pictures` has looked at before are not read again.
    """
    checked = _survey(paths, max_pixels)
    return {
        path: result.digest for path, result in checked.items() if not _verdict(result, max_pixels)
    }


def _survey(
    paths: Iterable[Path], max_pixels: int, workers: int | None = None
) -> dict[Path, _Checked]:
    """The state of every distinct file, remembered or decoded now."""
    distinct = list(dict.fromkeys(paths))
    remembered = _read_memory()
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(
            lambda path: _check(path, max_pixels, remembered.get(os.path.abspath(path))), distinct
        )
        console = Console(stderr=True)
        shown = track(
            results,
            "Looking at pictures",
            total=len(distinct),
            console=console,
            transient=True,
            disable=len(distinct) <= _PROGRESS_FROM or not console.is_terminal,
        )
        checked = dict(zip(distinct, shown, strict=True))
    learnt = {
        os.path.abspath(path): result for path, result in checked.items() if result.size != _FORGET
    }
    if any(remembered.get(path) != result for path, result in learnt.items()):
        _write_memory({**_read_memory(), **learnt})
    return checked


def _check(path: Path, max_pixels: int, known: _Checked | None) -> _Checked:
    """The state of a file; its ``size`` is `_FORGET` where it must not be remembered."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return _Checked(_FORGET, 0, 0, "missing", "")
    if known is not None and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
        return known
    try:
        with _opened(path, max_pixels) as picture:
            pixels = picture.width * picture.height
            picture.draft(
                "RGB", (_DRAFT_SIDE, _DRAFT_SIDE)
            )  # JPEG: all of the file is read, an eighth is computed
            _decode(picture, max_pixels)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except PictureError as error:
        undecoded = str(error).startswith(
            "more than"
        )  # under another limit it may turn out sound or damaged
        return _Checked(
            _FORGET if undecoded else status.st_size, status.st_mtime_ns, 0, str(error), ""
        )
    except OSError:  # it went away in between
        return _Checked(_FORGET, 0, 0, "missing", "")
    return _Checked(status.st_size, status.st_mtime_ns, pixels, "", digest)


def _verdict(checked: _Checked, max_pixels: int) -> str:
    """Why a checked file is unreadable under this limit, "" if it is readable."""
    return checked.reason or (_too_large(max_pixels) if checked.pixels > max_pixels else "")


def _too_large(max_pixels: int) -> str:
    return f"more than {max_pixels} pixels"


def _opened(source: Picture, max_pixels: int) -> Image.Image:
    """The picture with its header read; a Pillow image as it is."""
    picture = source if isinstance(source, Image.Image) else _read_header(source, max_pixels)
    if picture.width * picture.height > max_pixels:
        if picture is not source:
            picture.close()
        raise PictureError(_too_large(max_pixels))
    if 0 in picture.size:
        raise PictureError("not a picture: no pixels")
    return picture


def _read_header(source: Path | str | bytes | np.ndarray[Any, Any], max_pixels: int) -> Image.Image:
    """The picture of a file, of its bytes or of an array, not decoded yet."""
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if not isinstance(source, Path | str | bytes):  # a number would be taken for an open file
        raise PictureError(f"not a picture: {type(source).__name__}")
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise PictureError("not a picture" if os.path.exists(source) else "missing")
    try:
        return Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats()
        )
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(
            _too_large(min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)))
        ) from None
    except UnidentifiedImageError:
        raise PictureError("not a picture") from None
    except PermissionError:
        raise PictureError("no permission to read it") from None
    except Exception:  # Pillow's plugins raise almost anything on a damaged header
        raise PictureError("truncated") from None


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that Pillow can read here."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _from_array(values: np.ndarray[Any, Any]) -> Image.Image:
    """The picture of a uint8 array (height, width), or with 1, 3 or 4 channels behind."""
    channels = values.shape[2] if values.ndim == 3 else 1
    if (
        values.dtype != np.uint8
        or values.ndim not in (2, 3)
        or channels not in (1, 3, 4)
        or values.size == 0
    ):
        raise PictureError(f"not a picture: an array of {values.dtype} and shape {values.shape}")
    return Image.fromarray(values[:, :, 0] if values.ndim == 3 and channels == 1 else values)


def _decode(picture: Image.Image, max_pixels: int) -> None:
    """Read all of the first frame, which may be larger than the header of a container says."""
    try:
        picture.load()
    except Exception:  # Pillow's plugins raise almost anything on damaged data
        raise PictureError("truncated") from None
    if picture.width * picture.height > max_pixels:
        raise PictureError(_too_large(max_pixels))


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data says; as it is if they are damaged."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # Pillow raises almost anything on damaged EXIF data
        return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB, in a copy that needs no file."""
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
    """A greyscale picture of 16 or 32 bits or of floats, scaled to 8 bits; Pillow's own conversion would clip it."""
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64)).clip(min=0)  # (height, width)
    peak = values.max(initial=0)
    tops = (65535,) if picture.mode.startswith("I;16") else (1, 255, 65535)
    top = next((top for top in tops if peak <= top), peak)
    return Image.fromarray((values * (255 / top)).round().astype(np.uint8))


def _centre(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the square that ``crop`` keeps of a picture of this width and height."""
    width, height = size
    side = min(width, height) / _CROP_MARGIN
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def cache_folder() -> Path:
    """Where what is kept between runs lies: ``$MMIE_CACHE``, or ``~/.cache/mmie``."""
    folder = os.environ.get("MMIE_CACHE")
    return Path(folder) if folder else Path.home() / ".cache" / "mmie"


def _memory_file() -> Path:
    return cache_folder() / "pictures.json"


def _read_memory() -> dict[str, _Checked]:
    """What earlier runs found; nothing if the file is absent or damaged."""
    try:
        stored = json.loads(_memory_file().read_text(encoding="utf-8"))
        return {path: _checked_from(values) for path, values in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, RuntimeError):
        return {}


def _checked_from(values: object) -> _Checked:
    """A remembered result.

    Raises:
        ValueError: The values are none.
    """
    match values:
        case [int(size), int(mtime_ns), int(pixels), str(reason), str(digest)]:
            return _Checked(size, mtime_ns, pixels, reason, digest)
    raise ValueError("not a remembered result")


def _write_memory(memory: dict[str, _Checked]) -> None:
    """Replace the file at once, so that a run beside this one reads the old or the new; no error if it cannot be."""
    try:
        file = _memory_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(memory, stream)
        os.replace(name, file)
    except (OSError, RuntimeError):
        return
