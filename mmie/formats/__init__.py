"""Annotation formats of other programs, read as posts and written from them."""

from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.conversion import Conversion, convert_file, read_posts
from mmie.formats.registry import FORMATS, find_format, recognise

__all__ = [
    "FORMATS",
    "Conversion",
    "Format",
    "FormatError",
    "Notes",
    "ReadOptions",
    "convert_file",
    "find_format",
    "read_posts",
    "recognise",
]
