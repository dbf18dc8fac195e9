"""Import of packages that only some features need."""

import importlib
from typing import Any

from mmie.types import MmieError


class MissingPackageError(MmieError, ImportError):
    """A package of an optional extra that is not installed."""


def require(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Its full name.
        extra: The extra of this package that installs it.

    Raises:
        MissingPackageError: The module, or something that it needs, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise MissingPackageError(
            f"package '{missing}' is not installed: pip install 'mmie[{extra}]'"
        ) from error
