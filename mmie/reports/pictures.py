"""Small copies of pictures for pages and dashboards."""

import base64
import io
from functools import cache
from pathlib import Path

from PIL.Image import Image

from mmie.data.pictures import PictureError, load_picture

_THUMBNAIL_SIDE = 260
_JPEG_QUALITY = 82


def small_picture(path: str | Path | None, side: int = _THUMBNAIL_SIDE) -> Image | None:
    """Load a picture and shrink it.

    Args:
        path: File of the picture.
        side: Longest side of the result, in pixels.

    Returns:
        The picture; None if there is no path or the file cannot be read.
    """
    if path is None:
        return None
    try:
        picture = load_picture(path)
    except PictureError:
        return None
    picture.thumbnail((side, side))
    return picture


@cache
def picture_data_uri(path: str | Path | None, side: int = _THUMBNAIL_SIDE) -> str | None:
    """Encode a small copy of a picture as a JPEG in a data URI.

    Args:
        path: File of the picture.
        side: Longest side of the copy, in pixels.

    Returns:
        The URI; None if there is no path or the file cannot be read.
    """
    picture = small_picture(path, side)
    if picture is None:
        return None
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
