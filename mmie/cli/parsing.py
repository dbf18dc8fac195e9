"""A command line that answers a wrong option or setting with one line."""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

import yaml
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser

from mmie.types import MmieError, Schema
from mmie.utils.files import YamlTooLarge, read_yaml

_PARSER_NOISE = re.compile(
    r"Does not validate against|Subtypes:|Errors:|Given value type:|got (NestedArg|Namespace)\(|Expected a path but"
    r"|expected NoneType$"
)
"""Lines of jsonargparse that say how it came to its verdict."""
_PLAINER = (
    (r"(?:\. Got value|Given value): ", "\ngot "),
    (r"Expected a typing\.Literal\[(.+)\]", r"expected one of \1"),
    (r"Expected a <class '(?:[\w.]*\.)?(\w+)'>", r"expected \1"),
    (r"Expected a dot import path string: ", "expected the name of a class\ngot "),
    (r"Subcommand '\w+' does not accept option ('.+')", r"unknown key \1"),
    (r"Group '(.+)' does not accept option '(.+)'", r"unknown key '\1.\2'"),
    (r"Option ('.+') is not accepted", r"unknown key \1"),
    (r'in "<unicode string>", ', "at "),
    (r"Problem with given class_path '(.+)':", r"\1:"),
    (r"the following arguments are required: ", "given neither on the line nor by --config: "),
)
_SHOWN = 80
"""Characters of a wrong value that an error shows."""


class UsageError(MmieError, ValueError):
    """A command, option or setting that cannot be."""


class OneLineParser(LightningArgumentParser):
    """A parser that answers a wrong option with one line, and guesses no option from its beginning."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self._file: str | os.PathLike[str] | None = None

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]  # jsonargparse's own
        """Parse a command line.

        Raises:
            UsageError: An option is wrong, nests too deeply, or holds what no path can.
        """
        try:
            settings: Namespace = super().parse_args(*args, **kwargs)
        except RecursionError:
            raise UsageError("an option is nested too deeply to be read") from None
        except UsageError:  # a subcommand's parser has said it
            raise
        except (
            ValueError
        ) as error:  # what the parser does not expect of a value that it takes for a path
            raise UsageError(f"an option cannot be read: {error}") from error
        return settings

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Namespace:
        """Parse a configuration file, which an error on the way then names."""
        self._file = path
        self._refuse_swollen(path)
        settings: Namespace = super().parse_path(path, *args, **kwargs)
        self._file = None
        return settings

    def _refuse_swollen(self, path: str | os.PathLike[str]) -> None:
        """Refuse a configuration that is larger than it looks; what else is wrong with it the parser says itself."""
        try:
            read_yaml(Path(path))
        except YamlTooLarge as error:
            self.error(str(error), error)
        except (OSError, ValueError, yaml.YAMLError):
            return

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a `UsageError`; in a parser within a parser, what the outer one will tell."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise UsageError(
            shorten(message if self._file is None else f"{self._file}: {message}")
        ) from ex


def refuse_nulls(where: str, made: object, settings: Namespace) -> None:
    """Refuse null where a setting takes none: jsonargparse lets it through, and the constructor stumbles over it.

    Args:
        where: Name of the section, for the error.
        made: The class that the section describes.
        settings: What the constructor is given; a `Schema` comes from the data later.

    Raises:
        UsageError: A setting is null though its annotation does not say that it may be.
    """
    parents = reversed(made.__mro__[:-1]) if isinstance(made, type) else ()
    constructors = [vars(parent)["__init__"] for parent in parents if "__init__" in vars(parent)]
    hints = {
        name: hint
        for constructor in constructors
        for name, hint in get_type_hints(constructor).items()
    }
    for name, value in vars(settings).items():
        hint = hints.get(name, Any)
        if value is None and hint not in (Any, Schema) and type(None) not in get_args(hint):
            raise UsageError(f"{where}.{name} is null: expected {getattr(hint, '__name__', hint)}")


def plain_warnings() -> None:
    """Have a warning be one line, without the place in the source that gave it."""
    warnings.formatwarning = lambda message, *_args, **_settings: f"warning: {message}\n"


def complete_flags(arguments: Sequence[str]) -> list[str]:
    """A bare ``--wandb`` asks for what its settings are by default, or by a configuration.

    >>> complete_flags(["compare", "--wandb", "runs"]), complete_flags(["fit", "--wandb", "{project: mine}"])
    (['compare', '--wandb={}', 'runs'], ['fit', '--wandb', '{project: mine}'])
    """
    following = [*arguments[1:], ""]
    return [
        "--wandb={}" if argument == "--wandb" and not re.match(r"\{|null$", after) else argument
        for argument, after in zip(arguments, following, strict=True)
    ]


def shorten(message: str) -> str:
    """A message of jsonargparse in one line: which key, what was expected, what was got; others as they are."""
    keys = [key for key in re.findall(r'Parser key "(.+?)":', message) if key != "init_args"]
    text = re.sub(r'Parser key "(.+?)":', "\n", message)
    for pattern, plainer in _PLAINER:
        text = re.sub(pattern, plainer, text)
    lines = dict.fromkeys(line.strip(" -") for line in text.splitlines())
    kept = [line for line in lines if line and not _PARSER_NOISE.match(line)]
    said = [line for line in kept if not line.startswith("got ")]
    got = [
        line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
        for line in kept
        if line.startswith("got ")
    ]
    joined = re.sub(r"(?<!:), expected ", " or ", ", ".join(said + got)).replace(":, ", ": ")
    return f"{'.'.join(keys)}: {joined}" if keys else joined


@contextmanager
def usage_errors() -> Iterator[None]:
    """What settings make constructors raise becomes a `UsageError`; anything else is a bug and keeps its traceback."""
    try:
        yield
    except (ValueError, OSError, MemoryError, MisconfigurationException) as error:
        cause: BaseException = error
        while "of the Union subtypes" in str(cause) and cause.__cause__ is not None:
            cause = (
                cause.__cause__
            )  # jsonargparse wraps what the constructor of an optional class raises
        raise (
            cause
            if isinstance(cause, MmieError)
            else UsageError(str(cause) or type(cause).__name__)
        ) from error
