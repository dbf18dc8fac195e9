"""JPEG files without their last bytes, of which all pixels may be there."""

import io

from PIL import Image

_END = b"\xff\xd9"
_RESTART_INTERVAL = b"\xff\xdd"
_START_OF_SCAN = b"\xff\xda"
_FILLERS = (bytes(index * 73 % 251 for index in range(512)), b"\xaa" * 512)
"""Bytes that decode to pixels, none of which is that of a marker."""
_LAST_COEFFICIENT = 63


def complete_jpeg(content: bytes) -> Image.Image | None:
    """Decode a JPEG file without its last bytes if none of the missing bytes can change a pixel.

    The file is decoded with several endings. Missing pixels would differ between them.

    Args:
        content: The file.

    Returns:
        The decoded picture; None if pixels are missing.
    """
    content = content.removesuffix(b"\xff")  # half of the end marker
    restarts = [b""]
    if _RESTART_INTERVAL in content:
        # after a marker the decoder would skip what is no marker
        restarts += [bytes((0xFF, 0xD0 + number)) for number in range(8)]
    try:
        picture = _decode(content + _END)
        if picture.info.get("progressive") and not _has_all_scans(content, len(picture.getbands())):
            return None
        pixels = picture.tobytes()
        for restart in restarts:
            for filler in _FILLERS:
                if _decode(content + restart + filler + _END).tobytes() != pixels:
                    return None
    except Exception:  # Pillow raises almost anything on damaged data
        return None
    return picture


def _decode(content: bytes) -> Image.Image:
    """Decode a JPEG file."""
    picture = Image.open(io.BytesIO(content), formats=("JPEG",))
    picture.load()
    return picture


def _has_all_scans(content: bytes, components: int) -> bool:
    """Tell whether the scans of a progressive file hold each coefficient to its last bit."""
    missing = {(number, index) for number in range(components) for index in range(64)}
    numbers: dict[int, int] = {}
    place = content.find(_START_OF_SCAN)
    while place != -1:
        count = content[place + 4]
        selectors = content[place + 5 : place + 5 + 2 * count : 2]
        start, end, bits = content[place + 5 + 2 * count : place + 8 + 2 * count]
        for selector in selectors:
            number = numbers.setdefault(selector, len(numbers))
            if bits & 0x0F == 0 and end <= _LAST_COEFFICIENT:
                missing -= {(number, index) for index in range(start, end + 1)}
        place = content.find(_START_OF_SCAN, place + 2)
    return not missing
