"""Methods applied to one's own posts."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmie.inference.extractor import Extractor, load_extractor, load_pair
    from mmie.inference.pipelines import Pipeline, pipeline

__all__ = ["Extractor", "Pipeline", "load_extractor", "load_pair", "pipeline"]
_MODULES = {
    "Extractor": "mmie.inference.extractor",
    "Pipeline": "mmie.inference.pipelines",
    "load_extractor": "mmie.inference.extractor",
    "load_pair": "mmie.inference.extractor",
    "pipeline": "mmie.inference.pipelines",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: conversion of results needs no method.

    Raises:
        AttributeError: The package has no such name.
    """
    if name not in _MODULES:
        raise AttributeError(f"module 'mmie.inference' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)
