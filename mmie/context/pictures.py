"""Pictures of posts: read once each, scaled down, and as ``data:`` URLs."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from mmie.data.picture_audit import picture_digests
from mmie.types import Post

_QUALITY = 85
"""JPEG quality of a picture that is sent."""


def readable_pictures(posts: Iterable[Post]) -> dict[Path, str]:
    """Compute the SHA-256 of every picture of posts that can be read, by path."""
    return picture_digests({Path(image) for post in posts for image in post.images})


def scale_down(picture: Image.Image, max_side: int) -> Image.Image:
    """Resize a picture whose longer side exceeds a number of pixels, and keep its proportions."""
    factor = max_side / max(picture.size)
    if factor >= 1:
        return picture
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def to_data_url(picture: Image.Image) -> str:
    """Encode an RGB picture as a ``data:`` URL of a JPEG."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
