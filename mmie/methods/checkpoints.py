"""A method from a checkpoint alone: no configuration, corpus or hub is needed, and nothing is unpickled freely."""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmie.methods.base import ExtractionModule
from mmie.methods.transfer import CheckpointError, full_name, read_checkpoint
from mmie.types import Schema


def load_method(path: str | Path) -> ExtractionModule:
    """The trained module of a checkpoint, in eval mode.

    A method of one's own must have been imported before.

    Raises:
        CheckpointError: See `read_checkpoint`; or the method is unknown, or is another than the one that was trained.
    """
    return build_method(read_checkpoint(path), path)


def build_method(checkpoint: Mapping[str, Any], path: str | Path) -> ExtractionModule:
    """The trained module of a checkpoint's content, in eval mode; ``path`` is where it was read.

    Raises:
        CheckpointError: The method is unknown, or is another than the one that was trained.
    """
    try:
        module = _rebuild(checkpoint["mmie"])
        module.load_state_dict(checkpoint["state_dict"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"'{path}' does not fit the method known here ({str(error).splitlines()[0]}): "
            "load it with the version of the package, or of the method, that wrote it"
        ) from error
    return module.eval()


def _rebuild(description: dict[str, Any]) -> ExtractionModule:
    """The module that a checkpoint describes, untrained."""
    schema = Schema(**{**description["schema"], "labels": tuple(description["schema"]["labels"])})
    return find_method(description["method"])(schema, **description["init_args"])


def find_method(name: str) -> type[ExtractionModule]:
    """The method class of a full name, among those that have been imported.

    Raises:
        CheckpointError: There is none.
    """
    for method in known_methods():
        if full_name(method) == name:
            return method
    raise CheckpointError(f"the checkpoint's method {name} is not known: import its module first")


def known_methods() -> list[type[ExtractionModule]]:
    """The package's methods, and all others that have been imported."""
    importlib.import_module("mmie.methods")
    return list(dict.fromkeys(_subclasses(ExtractionModule)))  # type: ignore[type-abstract]


def _subclasses(parent: type[ExtractionModule]) -> Iterator[type[ExtractionModule]]:
    """All classes below ``parent``."""
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)
