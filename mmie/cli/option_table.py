"""Write the table of all options from the commands' parsers: ``python -m mmie.cli.option_table``.

``make options`` runs it. `mmie.cli.options` reads the table.
"""

import argparse
import importlib
import inspect
import json
from importlib.metadata import version
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser

import mmie.data
import mmie.methods
from mmie.cli.lightning import lightning_parsers
from mmie.cli.main import COMMANDS
from mmie.cli.options import CLASSES, LIBRARIES, RUN, TABLE, Option
from mmie.cli.threads import OPTION
from mmie.utils.files import atomic_write_text

_PLAIN = (str, int, float, bool, Path, NoneType)
"""Types whose options have no parts."""
_MAX_DEFAULT = 40
"""Most characters of a default that is shown."""


def build_table() -> dict[str, Any]:
    """Build the table of the options of all commands.

    Returns:
        The versions of the libraries, the options that all commands share which build a method,
        the arguments of the package's classes that these options take, and for each command its
        options, positional arguments and subcommands.
    """
    shared = _options(lightning_parsers(run=False)[None])
    lightning = lightning_parsers(run=True)
    commands: dict[str, dict[str, Any]] = {}
    for name, command in COMMANDS.items():
        if command.parser == "":
            own = [record for record in _options(lightning[name]) if record not in shared]
            commands[name] = {"options": [*own, OPTION.to_dict()], RUN: True}
            continue
        module = importlib.import_module(command.function.split(":")[0])
        parser = getattr(module, command.parser)()
        if command.computes:  # --threads is read before the parser is built, where help lists it
            for other in subcommands(parser).values() or [parser]:
                other.add_argument(*OPTION.flags, default=OPTION.default, help=OPTION.help)
        commands[name] = _record(parser)
        if command.takes_run_options:
            commands[name][RUN] = True
        for subcommand, subparser in subcommands(parser).items():
            commands[f"{name} {subcommand}"] = _record(subparser)
        for subcommand, (purpose, function, computes) in command.subcommands.items():
            if function:
                record = _record(getattr(module, function)())
            else:
                record = {"options": [OPTION.to_dict()] if computes else [], RUN: True}
            commands[f"{name} {subcommand}"] = record
            if "purposes" in commands[name]:
                commands[name]["purposes"][subcommand] = purpose
    return {
        "versions": {name: version(name) for name in LIBRARIES},
        RUN: shared,
        CLASSES: _class_arguments(shared),
        "commands": commands,
    }


def render_table(table: dict[str, Any]) -> str:
    """Render the table as JSON with one option a line, so that changes of it can be read."""
    lines = ["{", f'"versions": {json.dumps(table["versions"])},', f'"{RUN}": [']
    lines.append(",\n".join(map(json.dumps, table[RUN])))
    lines.append(f'],\n"{CLASSES}": {{')
    classes = []
    for path, arguments in table[CLASSES].items():
        classes.append(f"{json.dumps(path)}: {json.dumps(arguments)}")
    lines.append(",\n".join(classes))
    lines.append('},\n"commands": {')
    commands = []
    for name, record in table["commands"].items():
        options = ",\n".join(map(json.dumps, record["options"]))
        rest = ""
        for key, value in record.items():
            if key == "help":
                lines_of_help = ",\n".join(map(json.dumps, value))
                rest += f',\n"help": [\n{lines_of_help}\n]'
            elif key != "options":
                rest += f", {json.dumps(key)}: {json.dumps(value)}"
        commands.append(f'"{name}": {{"options": [\n{options}\n]{rest}}}')
    lines.append(",\n".join(commands))
    return "\n".join([*lines, "}}", ""])


def _record(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the record of a command in the table, with its help for 100 columns."""
    purposes = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                purposes[str(choice.dest)] = choice.help or ""
    record: dict[str, Any] = {"options": _options(parser), **_positionals(parser)}
    if purposes:
        record["purposes"] = purposes
    formatter = parser.formatter_class
    parser.formatter_class = lambda prog: formatter(prog, width=100)  # type: ignore[call-arg]
    record["help"] = parser.format_help().rstrip().splitlines()
    return record


def _positionals(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Return the names of a parser's positional arguments, if there are some."""
    names = []
    for action in parser._actions:
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            names.append(action.dest)
    return {"positionals": names} if names else {}


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of a parser's subcommands by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action._name_parser_map)
    return {}


def _options(parser: argparse.ArgumentParser) -> list[dict[str, Any]]:
    """Return the options of a parser as records."""
    return [_option(action).to_dict() for action in parser._actions if action.option_strings]


def _option(action: argparse.Action) -> Option:
    """Describe an option of a parser."""
    flags = [flag for flag in action.option_strings if not flag.endswith("+")]
    hint = getattr(action, "_typehint", action.type)
    nargs = "1" if action.nargs is None else str(action.nargs)
    if "--print_config" in flags:  # its value can only follow after =
        nargs = "0"
    choices = action.choices or (get_args(hint) if get_origin(hint) is Literal else ())
    return Option(
        tuple(sorted(flags, key=len, reverse=True)),
        nargs,
        tuple(map(str, choices)),
        _describe_default(action.default),
        " ".join((action.help or "").split()),
        hint is not None and not _is_plain(hint),
        _classes(hint),
        _simple_type(hint),
    )


def _class_arguments(records: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the arguments of the classes that options take, each with its simple type."""
    arguments: dict[str, dict[str, str]] = {}
    for record in records:
        for path in record.get("classes", {}).values():
            module, _, name = path.rpartition(".")
            parser = ArgumentParser(add_help=False)
            parser.add_class_arguments(getattr(importlib.import_module(module), name))
            arguments[path] = {}
            for action in parser._actions:
                argument = action.dest.partition(".")[0]
                hint = getattr(action, "_typehint", action.type)
                arguments[path].setdefault(argument, _simple_type(hint))
    return arguments


def _simple_type(hint: Any) -> str:
    """Return the name of a number's type or of ``bool``, with or without null."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = [member for member in members if member is not NoneType]
    if len(kinds) != 1 or not isinstance(kinds[0], type):
        return ""
    for simple in (bool, int, float):
        if issubclass(kinds[0], simple):
            return simple.__name__
    return ""


def _is_plain(hint: Any) -> bool:
    """Tell whether a type has no parts that could be set by names of their own."""
    if get_origin(hint) in (Union, UnionType):
        return all(map(_is_plain, get_args(hint)))
    if get_origin(hint) is list:
        return _is_plain(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return True
    is_number = isinstance(hint, type) and issubclass(hint, int | float)
    return hint in _PLAIN or is_number or inspect.isfunction(hint)


def _describe_default(default: object) -> str:
    """Describe a default that fits into a line, otherwise return nothing."""
    if default is None or default is False or default == argparse.SUPPRESS:
        return ""
    text = str(default)
    return text if len(text) <= _MAX_DEFAULT and "\n" not in text else ""


def _classes(hint: Any) -> dict[str, str]:
    """Return the package's classes that an option takes, with their import paths by name."""
    paths = {}
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    bases = []
    for member in members:
        if inspect.isclass(member) and member.__module__.startswith("mmie."):
            bases.append(member)
    for package in (mmie.data, mmie.methods):
        for name in package.__all__:
            value = getattr(package, name)
            if not inspect.isclass(value) or inspect.isabstract(value) or value in bases:
                continue
            if any(issubclass(value, base) for base in bases):
                paths[name] = f"{package.__name__}.{name}"
    return dict(sorted(paths.items(), key=lambda item: item[0].casefold()))


def main() -> None:
    """Write the table beside this module."""
    file = Path(__file__).with_name(TABLE)
    atomic_write_text(file, render_table(build_table()))
    print(file)


if __name__ == "__main__":
    main()
