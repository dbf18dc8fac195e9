"""Names of a package that are imported when they are first used."""

from collections.abc import Callable, Mapping
from importlib import import_module


def late_getattr(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package that imports some of its names on demand.

    Args:
        package: Name of the package.
        modules: Module of each name.

    >>> late_getattr("mmie", {"Post": "mmie.types"})("Post")
    <class 'mmie.types.Post'>
    """

    def find(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(modules[name]), name)

    return find
