"""Options of all commands as a table, which is read without importing the commands.

Wrong names of options, short help and shell completion need only the names. The parsers themselves
need the classes, whose import takes seconds. `mmie.cli.option_table` writes the table from the
parsers, and a test compares the two.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from typing import Any

TABLE = "options.json"
CLASSES = "classes"
"""Key of the arguments of the package's classes."""
RUN = "run"
"""Key of the options that every command has which builds a method from a configuration."""
LIBRARIES = ("lightning", "jsonargparse")
"""Libraries whose options the table holds beside those of this package."""


@dataclass(frozen=True, slots=True)
class Option:
    """Option of a command.

    Attributes:
        flags: Its names, the preferred one first.
        nargs: Number of its values as argparse has it: ``0``, ``1``, ``?``, ``*`` or ``+``.
        choices: All values that it takes; empty if there are more than a few.
        default: Its default, in words; empty without one.
        help: What it is for.
        has_parts: Whether ``--name.part`` may be given too, as for a class and its arguments.
        classes: Import paths of the package's classes that it takes, by class name.
        type: ``int``, ``float`` or ``bool`` if it takes such a value or null, otherwise empty.
    """

    flags: tuple[str, ...]
    nargs: str = "1"
    choices: tuple[str, ...] = ()
    default: str = ""
    help: str = ""
    has_parts: bool = False
    classes: Mapping[str, str] = field(default_factory=dict)
    type: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as JSON values, without those that are at their defaults."""
        record: dict[str, Any] = {"flags": list(self.flags)}
        if self.nargs != "1":
            record["nargs"] = self.nargs
        for name in ("choices", "default", "help", "has_parts", "classes", "type"):
            if value := getattr(self, name):
                record[name] = list(value) if name == "choices" else value
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Option":
        """Build an option from the result of `to_dict`."""
        sequences = {name: tuple(record.get(name, ())) for name in ("flags", "choices")}
        return cls(**{**record, **sequences})


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """Options of a command.

    Attributes:
        name: The command's name, with that of a subcommand: ``corpus demo``.
        options: Its options.
        positionals: Names of its positional arguments.
        purposes: Its subcommands, each with what it is for.
        help: What its parser prints as help; empty for the commands of Lightning.
    """

    name: str
    options: tuple[Option, ...] = ()
    positionals: tuple[str, ...] = ()
    purposes: Mapping[str, str] = field(default_factory=dict)
    help: str = ""

    @property
    def by_flag(self) -> dict[str, Option]:
        """Options by each of their names."""
        return {flag: option for option in self.options for flag in option.flags}

    def find(self, flag: str) -> Option | None:
        """Find an option by its name, or by the name of a part of it.

        Args:
            flag: Name on the command line, without a value.
        """
        known = self.by_flag
        name = flag.removesuffix("+")
        if name in known:
            return known[name]
        while "." in name:
            name = name.rpartition(".")[0]
            if name in known:
                return known[name] if known[name].has_parts else None
        return None

    def is_unknown(self, flag: str) -> bool:
        """Tell whether the command certainly has no such option.

        The libraries' own options may be others in other versions than those of the table.
        """
        if self.find(flag) is not None:
            return False
        is_of_library = flag.startswith(("--trainer.", "--print")) or flag.endswith(".help")
        return not is_of_library or has_known_versions()


def has_known_versions() -> bool:
    """Tell whether the installed libraries are those that the table was written with."""
    known: dict[str, str] = _read_table()["versions"]
    return all(version(library) == known[library] for library in LIBRARIES)


def command_options(command: str, arguments: Sequence[str]) -> tuple[CommandOptions, list[str]]:
    """Find the options of a command, or of the subcommand that its first argument names.

    Args:
        command: Name of the command.
        arguments: Arguments after the command's name.

    Returns:
        The options, and the arguments that remain for them.
    """
    table = _read_table()["commands"]
    subcommand = f"{command} {arguments[0]}" if arguments else ""
    if subcommand in table:
        return _command(subcommand), list(arguments[1:])
    return _command(command), list(arguments)


def class_arguments(path: str) -> Mapping[str, str] | None:
    """Return the constructor arguments of a class of the package.

    Args:
        path: Import path of the class.

    Returns:
        The type of each argument as `Option.type` has it; None for any other class.
    """
    arguments: Mapping[str, str] | None = _read_table()[CLASSES].get(path)
    return arguments


def all_command_options() -> dict[str, CommandOptions]:
    """Return the options of all commands and subcommands by name."""
    return {name: _command(name) for name in _read_table()["commands"]}


def _command(name: str) -> CommandOptions:
    """Read a command of the table."""
    table = _read_table()
    record = table["commands"].get(name, {})
    options = [Option.from_dict(record) for record in record.get("options", ())]
    if record.get(RUN):
        own = {flag for option in options for flag in option.flags}
        shared = map(Option.from_dict, table[RUN])
        options += [option for option in shared if own.isdisjoint(option.flags)]
    return CommandOptions(
        name,
        tuple(options),
        tuple(record.get("positionals", ())),
        record.get("purposes", {}),
        "\n".join(record.get("help", ())),
    )


@functools.cache
def _read_table() -> dict[str, Any]:
    """Read the table."""
    table: dict[str, Any] = json.loads(files("mmie.cli").joinpath(TABLE).read_text("utf-8"))
    return table
