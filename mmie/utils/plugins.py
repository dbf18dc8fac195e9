"""Modules with methods and corpora of one's own: imported on request, or found as plugins.

A plugin is an entry point of an installed package in the group ``mmie.plugins``. What a checkpoint
or the configuration of a run names is never imported from here.
"""

import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

from mmie.types import MmieError
from mmie.utils.text import describe_error

GROUP = "mmie.plugins"
"""Group of the entry points."""


class PluginError(MmieError, ImportError):
    """A module of one's own that cannot be imported."""


@contextmanager
def searched_folder(folder: str | Path) -> Iterator[None]:
    """Let imports search a folder first, as ``python -m`` lets them search the working directory.

    Args:
        folder: The folder.
    """
    path = os.path.abspath(folder)
    sys.path.insert(0, path)
    try:
        yield
    finally:
        if path in sys.path:  # a module may have changed the list
            sys.path.remove(path)


def import_modules(names: Iterable[str]) -> None:
    """Import modules that a user names.

    Args:
        names: Full names of the modules.

    Raises:
        PluginError: A module is not found, or fails while it is imported.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # the module's code can raise anything
            raise PluginError(f"cannot import {name}: {_describe_failure(name, error)}") from error


def has_installed() -> bool:
    """Tell whether an installed package has a plugin."""
    return bool(entry_points(group=GROUP))


def import_installed() -> None:
    """Import the plugins of installed packages, and warn of each that fails."""
    for entry_point in entry_points(group=GROUP):
        try:
            entry_point.load()
        except (Exception, SystemExit) as error:  # the module's code can raise anything
            package = "a package" if entry_point.dist is None else entry_point.dist.name
            warnings.warn(
                f"the plugin {entry_point.value} of {package} is left out: "
                f"{_describe_failure(entry_point.module, error)}",
                stacklevel=2,
            )


def advise_import(class_path: str) -> str:
    """Say how to import the module of a class that a checkpoint or a run names.

    The name may come from somebody else. A name that is no plain identifier is not repeated, since
    the advice may be copied to a shell.

    Args:
        class_path: Full name of the class.

    >>> advise_import("my_package.Mine")
    'give --import my_package (in Python: import my_package) if you trust this module'
    >>> advise_import("x; ls.Mine")
    'import its module first'
    """
    module = class_path.rpartition(".")[0]
    if module == "__main__":
        return "its class was defined in a script or a notebook: define it in a module, and fit it"
    if not all(part.isidentifier() for part in module.split(".")):
        return "import its module first"
    return f"give --import {module} (in Python: import {module}) if you trust this module"


def _describe_failure(name: str, error: BaseException) -> str:
    """Say why a module was not imported, and in which line of which file."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and f"{name}.".startswith(f"{missing}."):
        return f"neither {os.getcwd()} nor an installed package has a module {missing}"
    frames = traceback.extract_tb(error.__traceback__)
    frames_of_module = []
    for frame in frames:
        is_import = frame.filename == __file__ or "importlib" in frame.filename
        if not is_import:
            frames_of_module.append(frame)
    if not frames_of_module:
        return describe_error(error)
    frame = frames_of_module[-1]
    return f"{describe_error(error)} ({Path(frame.filename).name}, line {frame.lineno})"
