"""``mmie completion``: scripts that complete the command in a shell, written by shtab.

A script holds all commands, options and names of configurations, so that completing starts no
process of Python.
"""

import argparse
from collections.abc import Mapping, Sequence

import shtab

from mmie.cli.options import CommandOptions, Option, all_command_options, command_options
from mmie.cli.parsing import OneLineParser
from mmie.utils.configurations import configuration_names

SHELLS = ("bash", "zsh")
_FUNCTION = "_mmie_configurations"
_PREAMBLES = {
    "bash": '{function}() {{ compgen -f -- $1; compgen -W "{names}" -- $1; }}',
    "zsh": "{function}() {{ _alternative 'files:file:_files' 'names:configuration:({names})'; }}",
}
"""Definitions of the function that completes a file or the name of a configuration."""
_CONFIGURATIONS = dict.fromkeys(SHELLS, _FUNCTION)
_FILES = {
    "--run_dir": shtab.DIRECTORY,
    "--feature_store": shtab.DIRECTORY,
    "--ckpt_path": shtab.FILE,
    "--checkpoint": shtab.FILE,
    "--ner": shtab.FILE,
    "--re": shtab.FILE,
    "--out": shtab.FILE,
    "--pictures": shtab.DIRECTORY,
    "--posts": shtab.FILE,
    "--config": _CONFIGURATIONS,
    "--against": _CONFIGURATIONS,
    "--pretraining": _CONFIGURATIONS,
    "config": _CONFIGURATIONS,
    "configs": _CONFIGURATIONS,
    "first": _CONFIGURATIONS,
    "second": _CONFIGURATIONS,
    "name": _CONFIGURATIONS,
}
"""How the values of options and positional arguments are completed. Others have choices or none."""


def completion_command(arguments: Sequence[str]) -> None:
    """Run ``mmie completion``.

    Raises:
        UsageError: The shell is not one of `SHELLS`.
    """
    print(completion_script(_completion_parser().parse_args(list(arguments)).shell))


def completion_script(shell: str) -> str:
    """Write the script that completes ``mmie`` in a shell of `SHELLS`."""
    names = " ".join(configuration_names())
    preamble = _PREAMBLES[shell].format(function=_FUNCTION, names=names)
    script: str = shtab.complete(_parser_of_table(), shell, preamble=preamble)
    return script


def _parser_of_table() -> argparse.ArgumentParser:
    """Build a parser that has the names of all commands and options, and nothing behind them."""
    from mmie.cli.main import COMMANDS

    parser = argparse.ArgumentParser("mmie", allow_abbrev=False)
    parser.add_argument("--version", action="version", version="", help="print the version")
    commands = parser.add_subparsers()
    for name, command in COMMANDS.items():
        options, _ = command_options(name, ())
        subparser = commands.add_parser(name, help=command.purpose, allow_abbrev=False)
        _add_options(subparser, options)
        if options.purposes:
            _add_subcommands(subparser, options.purposes, name)
    return parser


def _add_subcommands(
    parser: argparse.ArgumentParser, purposes: Mapping[str, str], command: str
) -> None:
    """Add the subcommands of a command."""
    table = all_command_options()
    commands = parser.add_subparsers()
    for name, purpose in purposes.items():
        subparser = commands.add_parser(name, help=purpose, allow_abbrev=False)
        _add_options(subparser, table[f"{command} {name}"])


def _add_options(parser: argparse.ArgumentParser, options: CommandOptions) -> None:
    """Add the options and positional arguments of a command."""
    for option in options.options:
        if "--help" not in option.flags:
            _add_option(parser, option)
    for name in options.positionals:
        positional = parser.add_argument(name, nargs="*")
        positional.complete = _FILES.get(name, shtab.FILE)  # type: ignore[attr-defined]


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    """Add an option, with its choices or the kind of file that it takes."""
    text = option.help.replace("%", "%%")
    if option.nargs == "0":
        parser.add_argument(*option.flags, action="store_true", help=text)
        return
    choices: Sequence[str] | None = None
    if option.classes or option.choices:
        choices = (*option.classes, *option.choices)
    nargs = option.nargs if option.nargs in ("?", "*", "+") else None
    added = parser.add_argument(*option.flags, nargs=nargs, choices=choices, help=text)
    if option.flags[0] in _FILES:
        added.complete = _FILES[option.flags[0]]  # type: ignore[attr-defined]


def _completion_parser() -> OneLineParser:
    """Build the parser of ``mmie completion``."""
    parser = OneLineParser(
        prog="mmie completion",
        description="Print the script that completes commands, options and names of configurations "
        "in a shell. For bash: mmie completion bash > "
        "~/.local/share/bash-completion/completions/mmie. For zsh: mmie completion zsh > _mmie, in "
        "a folder of $fpath.",
    )
    parser.add_argument("shell", choices=SHELLS, help="Shell to write it for.")
    return parser
