"""A command line that reports a wrong option or setting in one line."""

import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pydoc import locate
from typing import Any, NoReturn, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace

from mmie.cli.options import CommandOptions, all_command_options
from mmie.cli.usage import UsageError as UsageError  # part of this module, too
from mmie.types import MmieError, Schema
from mmie.utils.files import YamlTooLarge, read_yaml
from mmie.utils.terminal import printable
from mmie.utils.text import describe_os_error, did_you_mean

_PARSER_NOISE = re.compile(
    r"Does not validate against|Subtypes:|Errors:|Given value type:|got (NestedArg|Namespace)\("
    r"|Expected a path but|expected NoneType$"
)
"""Lines of jsonargparse that trace how it came to its verdict."""
_PLAINER_WORDS = (
    (r"(?:\. Got value|Given value): ", "\ngot "),
    (r"Expected a typing\.Literal\[(.+)\]", r"expected one of \1"),
    (r"Expected a <class '(?:[\w.]*\.)?(\w+)'>", r"expected \1"),
    (r"Expected a dot import path string: ", "expected the name of a class\ngot "),
    (r"Subcommand '\w+' does not accept option ('.+')", r"unknown key \1"),
    (r"Group '(.+)' does not accept option '(.+)'", r"unknown key '\1.\2'"),
    (r"Option ('.+') is not accepted", r"unknown key \1"),
    (r'in "<unicode string>", ', "at "),
    (r"Problem with given class_path '(.+)':", r"\1:"),
    (
        r"the following arguments are required: ",
        "given neither on the line nor by --config: ",
    ),
)
"""Patterns in messages of jsonargparse, and what replaces them."""
_UNKNOWN_CLASS = re.compile(
    r"(?P<option>[\w.]+): expected the name of a class, got (?P<name>[A-Za-z][\w-]*)$"
)
_UNKNOWN_KEY = re.compile(
    r"(?:(?P<owner>\w+(?:\.\w+)+): )?unknown key '(?P<key>[^']+)'(?P<got>, got .*)?$"
)
_MAX_VALUE = 80
"""Most characters of a wrong value that an error repeats."""
_PATH_OPTIONS = frozenset(
    {
        "run_dir",
        "feature_store",
        "ckpt_path",
        "out",
        "root",
        "checkpoint",
        "ner",
        "re",
        "run",
        "source",
    }
)
"""Options whose values are paths though their type is str."""
_MAX_NAME, _MAX_PATH = 255 - 40, 4096 - 512
"""Most bytes of a name and of a path, so that temporary files beside and below it fit as well."""


class OneLineParser(ArgumentParser):
    """Parser that reports a wrong option in one line and accepts no abbreviated options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self._file: str | os.PathLike[str] | None = None

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]
        """Parse a command line.

        Raises:
            UsageError: An option is wrong, nests too deeply, or holds what no path can.
        """
        try:
            settings: Namespace = super().parse_args(*args, **kwargs)
        except RecursionError:
            raise UsageError("an option is nested too deeply to be read") from None
        except UsageError:  # raised by a subcommand's parser
            raise
        except ValueError as error:  # raised for a value that the parser takes for a path
            raise UsageError(f"an option cannot be read: {error}") from error
        check_path_lengths(settings)
        return settings

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Namespace:
        """Parse a configuration file. An error message begins with its name."""
        self._file = path
        self._check_size(path)
        settings: Namespace = super().parse_path(path, *args, **kwargs)
        self._file = None
        return settings

    def _check_size(self, path: str | os.PathLike[str]) -> None:
        """Report a configuration with too many values. The parser reports its other faults."""
        try:
            read_yaml(Path(path))
        except YamlTooLarge as error:
            self.error(str(error), error)
        except (OSError, ValueError, yaml.YAMLError):
            return

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a `UsageError`, or leave the report to the parser that this one is part of."""
        if not self.exit_on_error:
            super().error(message, ex)
        if message == "Unexpected config: ":
            message = "expected settings, found nothing"
        if self._file is not None:
            message = f"{self._file}: {message}"
        raise UsageError(add_hint(shorten_message(message))) from ex


def check_path_lengths(settings: Namespace) -> None:
    """Raise if an option is a path that no file can have.

    Args:
        settings: Settings of a command.

    Raises:
        UsageError: A path or a part of it is too long.
    """
    for name, value in settings.items():
        is_path = name.rpartition(".")[2] in _PATH_OPTIONS
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Path) or (is_path and isinstance(item, str)):
                check_path_length(name, str(item))


def check_path_length(name: str, path: str) -> None:
    """Raise if a path is too long, with the temporary names beside it.

    Args:
        name: Name of the option.
        path: The path.

    Raises:
        UsageError: The path or a part of it is too long.
    """
    if os.path.exists(path):
        return
    longest = max(map(len, map(os.fsencode, path.split("/"))))
    if longest > _MAX_NAME or len(os.fsencode(os.path.abspath(path))) > _MAX_PATH:
        raise UsageError(
            f"{name} is too long for a path ({path[:_MAX_VALUE]}...): expected at most {_MAX_NAME} "
            f"bytes for each name and {_MAX_PATH} in all"
        )


def refuse_nulls(section: str, constructor: object, settings: Namespace) -> None:
    """Raise if a setting is null though its annotation does not allow it.

    Jsonargparse lets such a null through, and the constructor fails on it.

    Args:
        section: Name of the section, for the error.
        constructor: The class that the section describes.
        settings: Its settings; a `Schema` is linked from the data later.

    Raises:
        UsageError: A setting is null though its annotation does not allow it.
    """
    hints = _constructor_hints(constructor)
    for name, value in vars(settings).items():
        hint = hints.get(name, Any)
        if value is None and hint not in (Any, Schema) and type(None) not in get_args(hint):
            expected = getattr(hint, "__name__", hint)
            raise UsageError(f"{section}.{name} is null: expected {expected}")


def _constructor_hints(constructor: object) -> dict[str, Any]:
    """Return the annotations of a class's constructor and of those of its parents."""
    hints: dict[str, Any] = {}
    if isinstance(constructor, type):
        for parent in reversed(constructor.__mro__[:-1]):
            if "__init__" in vars(parent):
                hints.update(get_type_hints(vars(parent)["__init__"]))
    return hints


def plain_warnings() -> None:
    """Print warnings in one line, without the place in the source that gave them."""
    warnings.formatwarning = lambda message, *_args, **_settings: (
        f"warning: {printable(' '.join(str(message).split()))}\n"
    )


def shorten_message(message: str) -> str:
    """Reduce a message of jsonargparse to one line: the key, what was expected, what was given."""
    keys = [key for key in re.findall(r'Parser key "(.+?)":', message) if key != "init_args"]
    text = re.sub(r'Parser key "(.+?)":', "\n", message)
    for pattern, replacement in _PLAINER_WORDS:
        text = re.sub(pattern, replacement, text)
    lines = dict.fromkeys(line.strip(" -") for line in text.splitlines())
    informative = [line for line in lines if line and not _PARSER_NOISE.match(line)]
    statements, values = [], []
    for line in informative:
        if not line.startswith("got "):
            statements.append(line)
        else:
            values.append(line if len(line) <= _MAX_VALUE else f"{line[:_MAX_VALUE]}...")
    joined = ", ".join(statements + values)
    joined = re.sub(r"(?<!:), expected ", " or ", joined).replace(":, ", ": ")
    return f"{'.'.join(keys)}: {joined}" if keys else joined


def add_hint(message: str) -> str:
    """Add to a message of one line what is spelled most like an unknown class or key.

    Args:
        message: Result of `shorten_message`.
    """
    if match := _UNKNOWN_CLASS.search(message):
        classes = _classes_of_option(f"--{match['option']}")
        if not classes:
            return message
        expected = f"expected one of {', '.join(classes)}, or the import path of a class"
        hint = did_you_mean(match["name"], classes)
        return f"{match['option']}: {expected}, got {match['name']}{hint}"
    if match := _UNKNOWN_KEY.search(message):
        if match["owner"] is not None:
            known = list(_constructor_hints(locate(match["owner"])))
        else:
            known = [flag.lstrip("-") for options in _tables() for flag in options.by_flag]
        hint = did_you_mean(match["key"], known)
        return message[: match.end("key") + 1] + hint if hint else message
    return message


def _tables() -> Iterable[CommandOptions]:
    """Return the tables of options of all commands."""
    return all_command_options().values()


def _classes_of_option(flag: str) -> Mapping[str, str]:
    """Return the package's classes that an option takes, in whichever command."""
    for options in _tables():
        option = options.by_flag.get(flag)
        if option is not None and option.classes:
            return option.classes
    return {}


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn errors that settings cause in constructors into a `UsageError`.

    Other errors are bugs and keep their traceback.

    Raises:
        UsageError: A constructor refused a setting.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, (ValueError, OSError, MemoryError, *_misconfiguration())):
            raise
        cause: BaseException = error
        while "of the Union subtypes" in str(cause) and cause.__cause__ is not None:
            cause = cause.__cause__  # jsonargparse wraps errors of optional classes
        if isinstance(cause, MmieError):
            raise cause from error
        if isinstance(cause, OSError):
            raise UsageError(describe_os_error(cause)) from error
        raise UsageError(str(cause) or type(cause).__name__) from error


def _misconfiguration() -> tuple[type[Exception], ...]:
    """Return Lightning's error of a wrong setting, if Lightning is imported at all."""
    module = sys.modules.get("lightning.fabric.utilities.exceptions")
    if module is None:
        return ()
    error: type[Exception] = module.MisconfigurationException
    return (error,)
