"""Check the values of a command that takes a configuration, before libraries are imported.

Only what the command's own parser would certainly refuse is reported: unknown keys, words where a
number is expected, misspelled classes of this package and arguments that they do not have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmie.cli.arguments import split_arguments
from mmie.cli.options import (
    CommandOptions,
    Option,
    class_arguments,
    command_options,
    has_known_versions,
)
from mmie.cli.usage import UsageError
from mmie.utils.files import read_yaml
from mmie.utils.plugins import has_installed
from mmie.utils.text import did_you_mean, truncate

_NULLS = frozenset({"", "null", "none", "~"})
_BOOLEANS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n"})
_CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
_PACKAGES = ("mmie.methods", "mmie.data")
"""Packages all of whose classes the table of options has."""
_MAX_VALUE = 80
"""Most characters of a wrong value that an error repeats."""


@dataclass(slots=True)
class _Settings:
    """Settings of a command line and of its configurations.

    Attributes:
        options: Options of the command.
        knows_classes: Whether no module can define further classes that have no import path.
        classes: Values given for options that take a class, by flag.
        arguments: For each such option, the arguments given: source, name and value.
    """

    options: CommandOptions
    knows_classes: bool
    classes: dict[str, set[str]] = field(default_factory=dict)
    arguments: dict[str, list[tuple[str, str, Any]]] = field(default_factory=dict)


def check_settings(command: str, arguments: Sequence[str], modules: Sequence[str] = ()) -> None:
    """Raise if a setting is certainly wrong.

    Args:
        command: Name of the command.
        arguments: Result of `prepare_arguments`.
        modules: Modules of ``--import``, whose classes are not known here.

    Raises:
        UsageError: A key is unknown, or a value is not of its option's type.
    """
    options, rest = command_options(command, arguments)
    if not {"--config", "--model"} <= set(options.by_flag):
        return
    settings = _Settings(options, not modules)
    for item in split_arguments(options, rest):
        if item.option is None or len(item.values) != 1 or item.flag.endswith((".help", "+")):
            continue
        if "--config" in item.option.flags:
            for key, value in _configuration(item.values[0]).items():
                _check_key(settings, f"{item.values[0]}: ", str(key), value)
        else:
            _check_key(settings, "", item.flag.lstrip("-"), item.values[0])
    for flag, classes in settings.classes.items():
        if len(classes) == 1:  # after a change of the class, other arguments are dropped
            _check_arguments(flag, classes.pop(), settings.arguments.get(flag, ()))


def _configuration(path: str) -> Mapping[Any, Any]:
    """Read a configuration, as no settings where the command's parser is to report a fault."""
    try:
        content = read_yaml(Path(path))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _check_key(settings: _Settings, source: str, key: str, value: Any) -> None:
    """Check a key and its value, and collect classes and their arguments.

    Raises:
        UsageError: The key is unknown, or the value is not of its type.
    """
    options = settings.options
    if key.endswith("+") or not key:
        return
    flag = f"--{key}"
    option = options.by_flag.get(flag)
    if option is None:
        owner = options.find(flag)
        if owner is not None:
            if owner.classes:
                _collect_part(settings, source, owner, key, value)
        elif any(name.startswith(f"{flag}.") for name in options.by_flag):
            _check_section(settings, source, key, value)
        elif source and options.is_unknown(flag):
            known = [name.lstrip("-") for name in options.by_flag]
            raise UsageError(f"{source}unknown key '{key}'{did_you_mean(key, known)}")
    elif option.classes:
        _collect_class(settings, source, option, key, value)
    elif isinstance(value, Mapping):
        _check_section(settings, source, key, value)
    elif has_known_versions() or not flag.startswith("--trainer."):
        _check_value(source, key, value, option.type, option.choices)


def _check_section(settings: _Settings, source: str, key: str, value: Any) -> None:
    """Check the keys of a section of a configuration, unless another file holds them.

    Raises:
        UsageError: A key is unknown, or a value is not of its type.
    """
    is_section = any(flag.startswith(f"--{key}.") for flag in settings.options.by_flag)
    if is_section and isinstance(value, Mapping):
        for name, part in value.items():
            _check_key(settings, source, f"{key}.{name}", part)


def _collect_class(settings: _Settings, source: str, option: Option, key: str, value: Any) -> None:
    """Check the class that an option names, and collect it with its arguments.

    Raises:
        UsageError: The class is none of the package and has no import path of its own.
    """
    if isinstance(value, Mapping):
        for name, part in value.items():
            _collect_part(settings, source, option, f"{key}.{name}", part)
    elif isinstance(value, str):
        _collect_part(settings, source, option, f"{key}.class_path", value)


def _collect_part(settings: _Settings, source: str, owner: Option, key: str, value: Any) -> None:
    """Collect a class path, or arguments of the class.

    Raises:
        UsageError: The class is none of the package and has no import path of its own.
    """
    flag = owner.flags[0]
    name = key.removeprefix(f"{flag.lstrip('-')}.")
    if name == "class_path":
        if isinstance(value, str):
            _check_class(settings, source, owner, value)
            settings.classes.setdefault(flag, set()).add(owner.classes.get(value, value))
        return
    if name == "init_args":
        parts = list(value.items()) if isinstance(value, Mapping) else []
    else:
        parts = [(name.removeprefix("init_args."), value)]
    given = settings.arguments.setdefault(flag, [])
    given.extend((source, str(argument), part) for argument, part in parts)


def _check_class(settings: _Settings, source: str, option: Option, name: str) -> None:
    """Raise if a class is misspelled.

    Raises:
        UsageError: The class is none of the package and has no import path of its own.
    """
    package, _, short = name.rpartition(".")
    is_plain = short.isidentifier() and package in ("", *_PACKAGES)
    if not is_plain or name in option.classes.values() or short in option.classes:
        return
    hint = did_you_mean(short, option.classes)
    if not hint or Path(name).exists():
        return
    if not package and (not settings.knows_classes or has_installed()):
        return
    expected = f"expected one of {', '.join(option.classes)}, or the import path of a class"
    raise UsageError(f"{source}{option.flags[0].lstrip('-')}: {expected}, got {name}{hint}")


def _check_arguments(flag: str, path: str, given: Sequence[tuple[str, str, Any]]) -> None:
    """Check the arguments of a class of the package.

    Raises:
        UsageError: The class has no such argument, or the value is not of its type.
    """
    known = class_arguments(path)
    if known is None:
        return
    for source, name, value in given:
        argument = name.partition(".")[0].removesuffix("+")
        if argument in _CLASS_KEYS:
            continue
        key = f"{flag.lstrip('-')}.{name}"
        if argument not in known:
            hint = did_you_mean(argument, known)
            subject = path.rpartition(".")[2]
            raise UsageError(f"{source}unknown key '{key}': {subject} has no '{argument}'{hint}")
        if argument == name:
            _check_value(source, key, value, known[name], ())


def _check_value(source: str, key: str, value: Any, kind: str, choices: Sequence[str]) -> None:
    """Raise if a value is text where its option takes a number, a boolean or one of few words.

    Raises:
        UsageError: The value is not of its type.
    """
    if not isinstance(value, str) or value.strip().lower() in _NULLS:
        return
    text = value.strip().strip("'\"")
    if choices and text not in choices:
        expected = f"one of {', '.join(choices)}"
    elif kind and _is_word(text) and not (kind == "bool" and text.lower() in _BOOLEANS):
        expected = kind
    else:
        return
    raise UsageError(f"{source}{key}: expected {expected}, got {truncate(value, _MAX_VALUE)}")


def _is_word(text: str) -> bool:
    """Tell whether a text is no number in any notation: letters, and not those of hexadecimals.

    >>> _is_word("abc"), _is_word("1e-3"), _is_word("0x1F"), _is_word(".inf"), _is_word("3.5")
    (True, False, False, False, False)
    """
    try:
        float(text)
    except ValueError:
        return text[:1].isalpha()
    return False
