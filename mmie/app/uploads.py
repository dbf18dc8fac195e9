"""Opening of clients' picture files without decoding them, and the memory that decoding takes."""

import io

from PIL import Image, UnidentifiedImageError

from mmie.app.limits import Limits
from mmie.data.pictures import PictureError, PictureTooLarge

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats of pictures that are opened; Pillow runs other programs for some, such as PostScript."""
BYTES_PER_PIXEL = 28
"""Memory that decoding takes at its peak: at most 24.1 bytes were measured, of WebP with alpha."""
DEEP_BYTES_PER_PIXEL = 36
"""The same for more than 8 bits a channel: at most 32.6 bytes were measured, of 32-bit floats."""
MAX_SCANS = 64
"""Most scans of a JPEG, each of which takes a pass over all pixels; encoders write about 10."""
MAX_TIFF_HEADER = 2**18
"""Most bytes of a TIFF's tags, whose offsets become one Python object for each tile."""
_START_OF_SCAN = b"\xff\xda"
_MIN_READS = 20_000
_BYTES_PER_READ = 256
"""A file may be read in ``_MIN_READS`` reads, and one more for each of so many bytes."""


class _BoundedFile(io.BytesIO):
    """File in memory that ends a parser which reads it in tiny pieces.

    Pillow reads chunks, markers and extensions one by one, and a file may hold millions of them.

    Attributes:
        bytes_left: Bytes that may be read; None is no limit.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left = _MIN_READS + len(data) // _BYTES_PER_READ
        self.bytes_left: int | None = MAX_TIFF_HEADER if data[:2] in (b"II", b"MM") else None

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes.

        Raises:
            PictureError: More reads or bytes are asked for than the file is worth.
        """
        data = super().read(size)
        self._reads_left -= 1
        if self.bytes_left is not None:
            self.bytes_left -= len(data)
        if self._reads_left < 0 or (self.bytes_left or 0) < 0:
            raise PictureError("too many parts")
        return data


def open_upload(data: bytes, limits: Limits) -> Image.Image:
    """Open a picture file without decoding it.

    Args:
        data: Bytes of the file.
        limits: ``max_pixels`` and ``max_decoded`` are checked.

    Raises:
        PictureError: The file is of none of `FORMATS`, damaged, too large, or would take
            disproportionately long to decode.
    """
    file = _BoundedFile(data)
    try:
        picture = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise PictureError(f"not a picture of a kind that is read here: {kinds}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureTooLarge.at(limits.max_pixels) from None
    except PictureError:
        raise
    except Exception:  # Pillow's plugins raise almost anything on a damaged header
        raise PictureError("truncated") from None
    file.bytes_left = None  # the pixels of a TIFF follow
    if picture.width * picture.height > limits.max_pixels:
        raise PictureTooLarge.at(limits.max_pixels)
    if decoded_bytes(picture) > limits.max_decoded:
        raise PictureError(f"more than {limits.max_decoded} bytes when decoded")
    if picture.format == "JPEG" and data.count(_START_OF_SCAN) > MAX_SCANS:
        raise PictureError(f"more than {MAX_SCANS} scans")
    return picture


def decoded_bytes(picture: Image.Image) -> int:
    """Return the most memory that decoding an opened picture to RGB takes, in bytes."""
    is_deep = picture.mode.startswith(("I", "F"))
    factor = DEEP_BYTES_PER_PIXEL if is_deep else BYTES_PER_PIXEL
    return picture.width * picture.height * factor
