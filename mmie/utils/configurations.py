"""Configurations that travel with the package, found by name."""

import functools
from pathlib import Path

from mmie.types import MmieError
from mmie.utils.text import did_you_mean

SUFFIX = ".yaml"
_FOLDER = "configs"


class ConfigurationNotFound(MmieError, ValueError):
    """A configuration that is neither a file nor the name of one of the package."""


def configurations_folder() -> Path:
    """Return the folder of the package's configurations.

    The wheel holds it inside the package. In a checkout it lies beside the package.
    """
    package = Path(__file__).parents[1]
    installed = package / _FOLDER
    return installed if installed.is_dir() else package.parent / _FOLDER


@functools.cache
def configuration_names() -> tuple[str, ...]:
    """Return the names of the package's configurations, such as ``hardware/gpu``.

    Those of the folder itself come first, then those of its subfolders.
    """
    folder = configurations_folder()
    names = []
    for file in folder.rglob(f"*{SUFFIX}"):
        names.append(file.relative_to(folder).with_suffix("").as_posix())
    return tuple(sorted(names, key=lambda name: ("/" in name, name)))


def named_configuration(name: str) -> Path | None:
    """Return the file of one of the package's configurations, None if no one has this name.

    Args:
        name: Its name. The suffix, and the folder ``configs/`` before it, may be given as well, so
            that a path into a checkout is a name elsewhere.
    """
    short = name.removeprefix(f"{_FOLDER}/").removesuffix(SUFFIX)
    if short not in configuration_names():
        return None
    return configurations_folder() / f"{short}{SUFFIX}"


def find_configuration(name: str) -> Path:
    """Find a configuration file by its path or its name.

    Args:
        name: A file; without such a file, the name of one of the package's configurations.

    Raises:
        ConfigurationNotFound: Neither a file nor a configuration of the package has this name.
    """
    path = Path(name)
    if path.exists():
        return path
    file = named_configuration(name)
    if file is None:
        raise ConfigurationNotFound(describe_unknown(name))
    return file


def describe_unknown(name: str) -> str:
    """Describe a name that is neither a file nor one of the package's configurations."""
    short = name.removeprefix(f"{_FOLDER}/").removesuffix(SUFFIX)
    hint = did_you_mean(short, configuration_names())
    return (
        f"{name} does not exist: expected a configuration file or a name that "
        f"mmie config list shows{hint}"
    )
