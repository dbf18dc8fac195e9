"""Pictures that a corpus holds as bytes, kept as files that are named by their SHA-256.

All that reads pictures of a corpus (the audit, the batches, the feature cache and the reports)
reads files. A picture from a table is written to ``$MMIE_CACHE/embedded/`` once, byte for byte, so
that it passes the same decoder and limits as a file, and cached features are found by the same key.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmie.data.parsing import MalformedLine, picture_path
from mmie.data.picture_audit import CacheFolderUnknown, cache_folder
from mmie.data.pictures import PictureError, load_picture
from mmie.utils.files import atomic_write
from mmie.utils.text import safe_repr

_FORMS = "a picture: a path, bytes, a Pillow image, an array, or an object of 'bytes' and 'path'"


def embedded_folder() -> Path:
    """Return the folder of pictures that were given as bytes.

    Raises:
        CacheFolderUnknown: Neither ``$MMIE_CACHE`` nor the user's home folder is known.
    """
    return cache_folder() / "embedded"


def is_embedded(picture: Path) -> bool:
    """Tell whether a picture file is one that `keep_picture` wrote."""
    try:
        return picture.is_relative_to(embedded_folder())
    except CacheFolderUnknown:
        return False


def keep_picture(content: bytes) -> Path:
    """Write the bytes of a picture to its file, unless the file exists, and return the file.

    The bytes are not decoded: the audit reports what is no picture.

    Args:
        content: Bytes of a picture file.

    Raises:
        CacheFolderUnknown: Neither ``$MMIE_CACHE`` nor the user's home folder is known.
        OSError: The file cannot be written.
    """
    name = hashlib.sha256(content).hexdigest()
    file = embedded_folder() / name[:2] / name
    if not file.is_file() or file.stat().st_size != len(content):
        atomic_write(file, lambda partial: partial.write_bytes(content))
    return file


def picture_file(value: object, root: Path) -> Path | None:
    """Return the file of a picture in any of the forms that tables hold.

    Args:
        value: A path, the bytes of a file, a Pillow image, a uint8 array, or the object that
            ``datasets`` stores in a column of images, ``{"bytes": ..., "path": ...}``, whose bytes
            are preferred.
        root: Folder that paths are relative to.

    Returns:
        The file, which need not exist if the value is a path; None for an object without a picture.

    Raises:
        MalformedLine: The value has another form, the image or array cannot be converted, or the
            path leads out of ``root``.
    """
    if isinstance(value, Mapping):
        content = value.get("bytes")
        value = value.get("path") if content is None else content
        if value is None:
            return None
    if isinstance(value, str | Path):
        return picture_path(root, str(value))
    if isinstance(value, bytes):
        return keep_picture(value)
    if isinstance(value, Image.Image | np.ndarray):
        return keep_picture(_to_png(value))
    raise MalformedLine(_FORMS, safe_repr(value))


def _to_png(picture: Image.Image | np.ndarray[Any, Any]) -> bytes:
    """Convert a picture in memory to the bytes of a file without loss.

    Raises:
        MalformedLine: The picture cannot be used: see `load_picture`.
    """
    stream = io.BytesIO()
    try:
        load_picture(picture).save(stream, "PNG", compress_level=1)
    except PictureError as error:
        raise MalformedLine(_FORMS, str(error)) from None
    return stream.getvalue()
