"""Methods applied to one's own posts."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmie.inference.extractor import Extractor, load_extractor, load_pair

__all__ = ["Extractor", "load_extractor", "load_pair"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: conversion of results needs no method.

    Raises:
        AttributeError: The package has no such name.
    """
    if name not in __all__:
        raise AttributeError(f"module 'mmie.inference' has no attribute '{name}'")
    return getattr(import_module("mmie.inference.extractor"), name)
