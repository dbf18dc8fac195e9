"""Packages that only some outputs and engines need."""

import importlib
from typing import Any

from mmie.types import MmieError


class MissingPackageError(MmieError, ImportError):
    """A package of an optional extra is not installed."""


def require(module: str, extra: str) -> Any:  # noqa: ANN401
    """A module of an optional package.

    Args:
        module: Its full name.
        extra: The extra of this package that installs it.

    Raises:
        MissingPackageError: It, or something it needs, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise MissingPackageError(f"package '{missing}' is not installed: pip install 'mmie[{extra}]'") from error
