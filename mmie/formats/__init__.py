"""Annotation formats of other programs, read as posts and written from them."""

from mmie.formats.base import Format, FormatError, Notes, ReadOptions

__all__ = ["Format", "FormatError", "Notes", "ReadOptions"]
