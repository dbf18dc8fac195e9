"""Named entities and relations in short texts with a picture: published methods in one package."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmie.inference import Extractor, load_pair, pipeline
    from mmie.types import Post

__all__ = ["Extractor", "Post", "load_pair", "pipeline"]
__version__ = version("mmie")
_MODULES = {
    "Extractor": "mmie.inference",
    "Post": "mmie.types",
    "load_pair": "mmie.inference",
    "pipeline": "mmie.inference",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: ``mmie --help`` need not wait for it.

    Raises:
        AttributeError: The package has no such name.
    """
    if name not in _MODULES:
        raise AttributeError(f"module 'mmie' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)
