"""Modules of one's own that commands import: those of ``--import``, and installed plugins."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmie.cli.arguments import split_option
from mmie.cli.usage import UsageError
from mmie.utils.plugins import import_installed, import_modules, searched_folder

OPTION = "--import"
IMPORT_HELP = (
    f"{OPTION} MODULE, which may be repeated, imports methods and corpora of one's own from the "
    "working directory or an installed package."
)
"""Text below the options of a command that takes ``--import``."""


@contextmanager
def imported_plugins(modules: Sequence[str], searches_working_directory: bool) -> Iterator[None]:
    """Import installed plugins and the modules of ``--import`` before a command runs.

    Until its end, modules of the working directory can be imported if the command searches it or
    ``--import`` is given.

    Args:
        modules: Modules of ``--import``.
        searches_working_directory: Whether classes that the options or a configuration name are
            looked for in the working directory.

    Raises:
        PluginError: A module of ``--import`` cannot be imported.
        UsageError: The command raised it.
    """
    import_installed()  # before the folder is searched, in which nothing is installed
    with ExitStack() as stack:
        if modules or searches_working_directory:
            stack.enter_context(searched_folder("."))
        import_modules(modules)
        with advised_imports():
            yield


@contextmanager
def advised_imports() -> Iterator[None]:
    """Add ``--import`` to an error about a module that lies in the working directory.

    Raises:
        UsageError: An option names a class of a module that was not found.
    """
    try:
        yield
    except UsageError as error:
        missing = re.search(r"No module named '(\w+)", str(error))
        if missing is None or not (Path(f"{missing[1]}.py").exists() or Path(missing[1]).is_dir()):
            raise
        raise UsageError(
            f"{error}: give {OPTION} {missing[1]} to import it from the working directory"
        ) from error


def split_imports(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the modules of ``--import`` from the other arguments.

    Raises:
        UsageError: ``--import`` has no value, or one that is not the name of a module.

    >>> split_imports(["posts.jsonl", "--import", "a", "--ner=runs/x", "--import=b.c"])
    (['a', 'b.c'], ['posts.jsonl', '--ner=runs/x'])
    """
    modules, others = split_option(arguments, OPTION)
    for name in modules:
        check_module_name(name)
    return modules, others


def check_module_name(name: str) -> None:
    """Raise unless a value of ``--import`` is the full name of a module.

    Raises:
        UsageError: The value is something else.
    """
    if all(part.isidentifier() for part in name.split(".")) and not name.endswith(".py"):
        return
    raise UsageError(
        f"{OPTION} is {name!r}: expected the name of a module, such as my_package for a file "
        "my_package.py or a folder my_package in the working directory"
    )
