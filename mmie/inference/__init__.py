"""Methods applied to one's own posts."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmie.inference.extractor import Extractor, load_extractor, load_pair
    from mmie.inference.pipelines import Pipeline, pipeline

_EXTRACTOR = ("Extractor", "load_extractor", "load_pair")

__all__ = ["Extractor", "Pipeline", "load_extractor", "load_pair", "pipeline"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: conversion of results needs no method.

    Raises:
        AttributeError: The package has no such name.
    """
    if name not in __all__:
        raise AttributeError(f"module 'mmie.inference' has no attribute '{name}'")
    module = "extractor" if name in _EXTRACTOR else "pipelines"
    return getattr(import_module(f"mmie.inference.{module}"), name)
