"""Entities and relations in short texts that come with a picture: published methods under one roof."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmie.inference import Extractor, load_pair
    from mmie.types import Post

__all__ = ["Extractor", "Post", "load_pair"]
__version__ = version("mmie")
_HOMES = {"Extractor": "mmie.inference", "Post": "mmie.types", "load_pair": "mmie.inference"}


def __getattr__(name: str) -> object:
    """What most begin with, imported when it is asked for: it takes seconds, which ``mmie --help`` need not.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'mmie' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
