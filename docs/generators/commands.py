"""Reference of the commands, from their parsers."""

import argparse
import importlib
import inspect
import re
from collections.abc import Iterator
from types import UnionType
from typing import Literal, Union, get_args, get_origin

from tables import markdown_table

from mmie.cli.lightning import lightning_parsers
from mmie.cli.main import COMMANDS
from mmie.cli.option_table import subcommands

CONFIGURED = ("fit", "validate", "test", "predict")
"""Commands whose settings are the keys of a configuration."""
_LONGEST_HELP = 400
"""Most characters of a help text. Of a longer one, the first sentence is shown."""
_IS_KEY = re.compile(r"(?:data|model|trainer)(?:\.|$)|wandb\.")
"""Pattern of options that are keys of a configuration, which have a page of their own."""


def find_parser(name: str, subcommand: str = "") -> argparse.ArgumentParser:
    """Return the parser of a command.

    Args:
        name: Name of the command.
        subcommand: Subcommand that the command's parser does not have.
    """
    command = COMMANDS[name]
    if not command.parser:
        return lightning_parsers(run=True)[name]
    function = command.subcommands[subcommand].parser if subcommand else command.parser
    if not function:  # a configuration is all that it takes
        return lightning_parsers(run=False)[None]
    module = importlib.import_module(command.function.split(":")[0])
    parser: argparse.ArgumentParser = getattr(module, function)()
    return parser


def all_parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the name and the parser of every command, and of every subcommand with options."""
    for name in COMMANDS:
        parser = find_parser(name)
        children = subcommands(parser)
        if not children:
            yield name, parser
        for child, child_parser in children.items():
            yield f"{name} {child}", child_parser
        for child in COMMANDS[name].subcommands:
            yield f"{name} {child}", find_parser(name, child)


def render_page() -> str:
    """Write the page of all commands."""
    rows = [
        [f"[`mmie {name}`](#mmie-{name})", command.purpose] for name, command in COMMANDS.items()
    ]
    parts = [
        "# Commands",
        "This page is made from the parsers of the commands. `mmie COMMAND --help` prints the same "
        "in a terminal.",
        markdown_table(["command", "purpose"], rows),
    ]
    previous = ""
    for full_name, parser in all_parsers():
        name = full_name.split()[0]
        description = " ".join((parser.description or "").split())
        if name != previous:
            parts.append(f"## mmie {name}")
            previous = name
        if full_name != name:
            parts.append(f"### mmie {full_name}")
        if full_name in CONFIGURED or not description:
            description = _sentence(COMMANDS[name].purpose)
        parts.append(description)
        parts.append(render_options(parser))
    return "\n\n".join(parts) + "\n"


def render_options(parser: argparse.ArgumentParser) -> str:
    """Write the table of a parser's options, without the sections of a configuration."""
    is_configured = any(action.dest.startswith("trainer.") for action in parser._actions)
    rows = []
    for action in parser._actions:
        if is_listed(action) and not (is_configured and _IS_KEY.match(action.dest)):
            rows.append(option_row(action))
    table = markdown_table(["option", "type", "default", "meaning"], rows) if rows else ""
    if is_configured:
        table += (
            "\n\nThe keys of a configuration are options as well (`--data.…`, `--model.…`, "
            "`--trainer.…`, `--wandb.…`): see [configuration](configuration.md)."
        )
    return table


def is_listed(action: argparse.Action) -> bool:
    """Tell whether an option belongs into a table: help options and links do not."""
    kind = type(action).__name__
    return not (
        kind in ("_HelpAction", "_ActionPrintConfig", "_ActionHelpClassPath", "_ActionSubCommands")
        or action.help == argparse.SUPPRESS
        or "Link" in kind
        or action.dest.endswith(".help")
    )


def option_row(action: argparse.Action) -> list[str]:
    """Return the cells of an option: name, type, default, meaning."""
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
    if action.nargs in ("+", "*"):
        names += " …"
    default = f"`{show_value(action.default)}`" if action.option_strings else ""
    if action.required:
        default = "required"
    if isinstance(action, argparse._StoreTrueAction):
        return [names, "flag", "", action.help or ""]
    return [names, f"`{type_of(action)}`", default, _help(action)]


def type_of(action: argparse.Action) -> str:
    """Return the type of an option as it would stand in code, without module names."""
    hint = getattr(action, "_typehint", None) or action.type or str
    return type_name(hint)


def type_name(hint: object) -> str:
    """Return an annotation as text, without module names."""
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(map(type_name, get_args(hint)))
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if hint is type(None):
        return "None"
    restricted = getattr(hint, "_expression", None)
    if restricted:
        base = getattr(getattr(hint, "_type", None), "__name__", "")
        return f"{base} {restricted}".replace(" v", " ").strip()
    text = inspect.formatannotation(hint)
    return re.sub(r"\b(?:\w+\.)+(?=[A-Za-z_])", "", text)


def show_value(value: object) -> str:
    """Return a default as it would stand in a configuration."""
    if value is None or value == argparse.SUPPRESS:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _help(action: argparse.Action) -> str:
    """Return the help of an option without the default, which has a column."""
    text = (action.help or "").replace("%%", "%")
    text = re.sub(r"\s*\((?:required, )?type:.*$", "", text, flags=re.DOTALL)
    text = re.sub(r"\.(?=[A-Z][a-z])", ". ", " ".join(text.split()))
    if len(text) > _LONGEST_HELP:  # only Lightning's are as long
        text = text.partition(". ")[0] + "."
    return text.replace("<", "&lt;")


def _sentence(text: str) -> str:
    """Make a sentence of the purpose of a command."""
    return f"{text[0].upper()}{text[1:]}."
