"""Formats of pictures that are decoded, and the names of contents that are not."""

import re
from contextlib import suppress
from functools import cache
from importlib import import_module

from PIL import Image, features
from PIL import __version__ as pillow_version

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO", "PNG",
           "PPM", "TGA", "TIFF", "WEBP")  # fmt: skip
"""Formats that are decoded if the local Pillow supports them.

Pillow supports others, of which EPS is a program that it would run.
"""
HEAD = 1024
"""Bytes of a file by which its content is named."""
COMMON_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp")
"""Suffixes of pictures that every Pillow decodes."""
_HEIF_SUFFIXES = (".heic", ".heif", ".hif")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
PICTURE_BRANDS = (*_HEIF_BRANDS, *_AVIF_BRANDS)
"""Brands of pictures in the container of MP4."""
_SIGNATURES = (
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture: convert it to JPEG or PNG"),
    (rb"\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01\xba|FLV\x01", "a video: save one of its frames"),
    (rb"%PDF-", "a PDF file"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file"),
    (rb"8BPS", "a Photoshop file: convert it to JPEG or PNG"),
    (rb"PK\x03\x04", "a ZIP archive: unpack it"),
    (rb"\x1f\x8b", "a gzip file: unpack it"),
    (rb"version https://git-lfs\.github\.com/", "a Git LFS pointer: run git lfs pull"),
    (rb"/annex/objects/", "a git-annex pointer: run git annex get"),
    (rb"(\.\./)+[^\s]+\s*\Z", "the target of a link as text: copy the file itself"),
    (rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)", "an HTML page"),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml.*?\?>\s*)?(<!--.*?-->\s*|<!doctype svg.*?>\s*)*<svg",
     "an SVG drawing: convert it to PNG"),
    (rb"\s*[\[{]\s*[\"\]}]", "JSON"),
)  # fmt: skip
"""Expressions of the first bytes of files that are no pictures, and what they are."""
_PATTERNS = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), name) for pattern, name in _SIGNATURES
)


@cache
def supported_formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that can be decoded here, HEIF with the extra ``heif``."""
    Image.init()
    with suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def picture_suffixes() -> tuple[str, ...]:
    """Return the suffixes of picture files in lower case, the most common ones first."""
    formats = supported_formats()
    others = {suffix for suffix, name in Image.registered_extensions().items() if name in formats}
    others |= {".avif", *_HEIF_SUFFIXES}
    return (*COMMON_SUFFIXES, *sorted(others.difference(COMMON_SUFFIXES)))


@cache
def decoders() -> str:
    """Name the decoders that a verdict on a file depends on."""
    codecs = ",".join(sorted(features.get_supported_codecs()))
    return f"{pillow_version} {','.join(supported_formats())} {codecs}"


def describe_content(head: bytes) -> str:
    """Say what a file is that is no picture which can be decoded, or return "" if it is unknown.

    Args:
        head: The first `HEAD` bytes of the file.

    >>> describe_content(b"<!DOCTYPE html><html>"), describe_content(b"?")
    ('an HTML page', '')
    """
    if not head:
        return "an empty file"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[place : place + 4] for place in range(16, 64, 4))}
        if brands.intersection(_AVIF_BRANDS):
            return "an AVIF picture, which this Pillow cannot decode: pip install --upgrade pillow"
        if brands.intersection(_HEIF_BRANDS):
            if "HEIF" in supported_formats():
                return "a damaged HEIC picture"
            return "a HEIC picture, which needs pip install 'mmie[heif]'"
        return "a video: save one of its frames"
    for pattern, name in _PATTERNS:
        if pattern.match(head):
            return name
    return ""
