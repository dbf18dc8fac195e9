"""Building a method from a checkpoint alone: no configuration, corpus or hub is needed."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from mmie.checkpoints import Checkpoint, CheckpointError, read_checkpoint
from mmie.checkpoints.checkpoint import unfit_message
from mmie.methods.base import ExtractionModule, full_name
from mmie.utils.plugins import advise_import
from mmie.utils.text import describe_error


def load_method(path: str | Path) -> ExtractionModule:
    """Load the trained module of a checkpoint, in eval mode.

    A method of one's own must have been imported before.

    Raises:
        CheckpointError: The file is no checkpoint, or its method is unknown or has changed.
    """
    return build_method(read_checkpoint(path))


def build_method(checkpoint: Checkpoint) -> ExtractionModule:
    """Build the trained module of a checkpoint, in eval mode.

    Raises:
        CheckpointError: The method is unknown, or has changed since it was trained.
    """
    try:
        method = find_method(checkpoint.method)
        init_args = method.upgrade_init_args(checkpoint.init_args, checkpoint.state_dict)
        module = method(checkpoint.schema, **init_args)
    except (KeyError, TypeError, RuntimeError) as error:
        message = unfit_message(checkpoint.source, checkpoint.version, describe_error(error))
        raise CheckpointError(message) from error
    load_weights(module, checkpoint)
    return module.eval()


def load_weights(module: ExtractionModule, checkpoint: Checkpoint) -> None:
    """Copy the weights of a checkpoint into its method.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape.
    """
    try:
        module.load_state_dict(checkpoint.state_dict)
    except (RuntimeError, TypeError, AttributeError) as error:
        details = str(error).splitlines()[1:]  # below a title that names the class alone
        reason = details[0].strip().rstrip(".") if details else describe_error(error)
        message = unfit_message(checkpoint.source, checkpoint.version, reason)
        raise CheckpointError(message) from error


def find_method(name: str) -> type[ExtractionModule]:
    """Find a method's class by its full name among the classes that have been imported.

    Raises:
        CheckpointError: No such class has been imported.
    """
    for method in known_methods():
        if full_name(method) == name:
            return method
    raise CheckpointError(f"the checkpoint's method {name} is not known: {advise_import(name)}")


def known_methods() -> list[type[ExtractionModule]]:
    """List the package's methods and all others that have been imported."""
    import_methods()
    return list(dict.fromkeys(_subclasses(ExtractionModule)))  # type: ignore[type-abstract]


def import_methods() -> None:
    """Import all methods of the package."""
    methods = importlib.import_module("mmie.methods")
    for name in methods.__all__:
        getattr(methods, name)


def _subclasses(parent: type[ExtractionModule]) -> Iterator[type[ExtractionModule]]:
    """Yield all classes below ``parent``."""
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)
