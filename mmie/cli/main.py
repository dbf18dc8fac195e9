"""Dispatch of the `mmie` command. Each command's module is imported only when it is run."""

import importlib
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib.metadata import version
from types import MappingProxyType
from typing import NamedTuple

from mmie.cli.interruption import InterruptionHandler
from mmie.utils.signals import AGAIN, GOES_ON, Interruption


class Subcommand(NamedTuple):
    """A subcommand that its command's parser does not have.

    Attributes:
        purpose: One line for the help.
        parser: Name of the function that builds its parser; empty if it takes the options of a
            configuration.
        computes: Whether it computes with a model and takes ``--threads``.
    """

    purpose: str
    parser: str = ""
    computes: bool = False


class Command(NamedTuple):
    """A command of ``mmie``.

    Attributes:
        function: Module and name of the function that runs it.
        purpose: One line for the overview.
        receives_name: Whether the function receives the command's name before its options.
        goes_on: Whether the command continues what an interrupted one has begun.
        imports: Whether it imports installed plugins and takes ``--import``.
        searches: Whether it looks in the working directory for the classes that its configuration
            or its options name. A command that reads files of others does not.
        parser: Name of the function in the same module that builds its parser. It is empty for
            the commands of Lightning.
        takes_run_options: Whether it takes the options of a configuration beside its own.
        computes: Whether it computes with a model, or starts processes that do, and takes
            ``--threads``.
        subcommands: Its subcommands that the parser does not have.
    """

    function: str
    purpose: str
    receives_name: bool = False
    goes_on: bool = False
    imports: bool = True
    searches: bool = False
    parser: str = ""
    takes_run_options: bool = False
    computes: bool = False
    subcommands: Mapping[str, Subcommand] = MappingProxyType({})


_LIGHTNING = "mmie.cli.lightning:lightning_command"
COMMANDS = {
    "fit": Command(
        _LIGHTNING,
        "train a method on a corpus",
        True,
        goes_on=True,
        searches=True,
        computes=True,
    ),
    "validate": Command(
        _LIGHTNING,
        "score a run folder's best checkpoint on the validation split",
        True,
        searches=True,
        computes=True,
    ),
    "test": Command(
        _LIGHTNING,
        "score a run folder's best checkpoint on the test split, write predictions",
        True,
        searches=True,
        computes=True,
    ),
    "predict": Command(
        _LIGHTNING,
        "write a run folder's predictions for the test split",
        True,
        searches=True,
        computes=True,
    ),
    "benchmark": Command(
        "mmie.cli.experiments:benchmark_command",
        "time training steps and their parts",
        searches=True,
        parser="_benchmark_parser",
        takes_run_options=True,
        computes=True,
    ),
    "corpus": Command(
        "mmie.cli.corpus:corpus_command",
        "write the demo corpus; pair, split, count or check any corpus; fill its feature cache",
        parser="_corpus_parser",
        subcommands={
            "features": Subcommand("fill the cache of features that fits read", computes=True)
        },
    ),
    "sweep": Command(
        "mmie.cli.experiments:sweep_command",
        "fit and test many runs: configurations, settings and seeds",
        goes_on=True,
        imports=False,  # its processes do
        parser="_sweep_parser",
        computes=True,
    ),
    "study": Command(
        "mmie.cli.study:study_command",
        "ablations, pretraining, cross-task and further studies of the papers; certificates",
        goes_on=True,
        searches=True,
        parser="_study_parser",
        computes=True,
    ),
    "compare": Command(
        "mmie.cli.reports:compare_command",
        "compare the test scores of runs and write a report",
        parser="_compare_parser",
    ),
    "diagnose": Command(
        "mmie.cli.reports:diagnose_command",
        "explain a checkpoint's predictions",
        parser="_diagnose_parser",
        computes=True,
    ),
    "certify": Command(
        "mmie.cli.reports:certify_command",
        "test and measure how much of a checkpoint's score needs the right pictures",
        parser="_certify_parser",
        computes=True,
    ),
    "ground": Command(
        "mmie.cli.ground:ground_command",
        "cut object crops out of pictures and write their index",
        goes_on=True,
        parser="_ground_parser",
        computes=True,
        subcommands={"convert": Subcommand("convert an index of crops", "_convert_parser")},
    ),
    "context": Command(
        "mmie.cli.context:context_command",
        "make text context for posts: similar training posts, text in pictures, answers of models",
        goes_on=True,
        parser="_context_parser",
        computes=True,
    ),
    "extract": Command(
        "mmie.cli.extraction:extract_command",
        "find entities and relations in one's own posts",
        goes_on=True,
        parser="_extract_parser",
        computes=True,
    ),
    "convert": Command(
        "mmie.cli.conversion:convert_command",
        "convert annotations of other programs, and extractions, to other formats",
        imports=False,
        parser="_convert_parser",
    ),
    "import": Command(
        "mmie.cli.importing:import_command",
        "convert the weights of a public code to a checkpoint",
        searches=True,
        parser="_import_parser",
        takes_run_options=True,
    ),
    "export": Command(
        "mmie.cli.export:export_command",
        "write a checkpoint as a folder to pass on, or as ONNX; send it to the hub",
        parser="_export_parser",
    ),
    "serve": Command(
        "mmie.cli.serve:serve_command",
        "serve checkpoints as a web page and a JSON endpoint",
        parser="_serve_parser",
        computes=True,
    ),
    "methods": Command(
        "mmie.cli.reports:methods_command",
        "list the methods: papers, switches, published scores",
        searches=True,
        parser="_methods_parser",
    ),
    "config": Command(
        "mmie.cli.configuration:config_command",
        "list or show the configurations that --config takes by name",
        imports=False,
        parser="_config_parser",
    ),
    "completion": Command(
        "mmie.cli.completion:completion_command",
        "print the script that completes commands in bash, zsh or tcsh",
        imports=False,
        parser="_completion_parser",
    ),
}
"""All commands by name, in the order of the overview."""


def overview() -> str:
    """Return the list of all commands, a line each."""
    lines = [f"  {name:<12}{command.purpose}" for name, command in COMMANDS.items()]
    usage = "usage: mmie COMMAND [OPTION ...]"
    return "\n".join([usage, "", *lines, "", "mmie COMMAND --help lists its options."])


def command_computes(name: str, options: Sequence[str]) -> bool:
    """Tell whether a command, or the subcommand that its first option names, takes ``--threads``.

    Args:
        name: Name of the command.
        options: Arguments after the command's name.
    """
    command = COMMANDS[name]
    subcommand = command.subcommands.get(options[0]) if options else None
    return command.computes if subcommand is None else subcommand.computes


def run_command(arguments: Sequence[str], interruption: InterruptionHandler) -> None:
    """Run the command that the first argument names.

    Args:
        arguments: The command's name and its options.
        interruption: Is told when the command itself starts.

    Raises:
        UsageError: The command is unknown, or an option or setting is wrong.
        PluginError: A module of ``--import`` cannot be imported.
        RunFolderError: The run folder that is named lacks a file.
    """
    from mmie.cli.arguments import RUN_COMMANDS, complete_flags, prepare_arguments
    from mmie.cli.brief_help import brief_help
    from mmie.cli.options import command_options
    from mmie.cli.plugins import imported_plugins, split_imports
    from mmie.cli.run_folders import SCORED, expand_scored_run
    from mmie.cli.setting_checks import check_settings
    from mmie.cli.threads import set_variables, split_threads
    from mmie.cli.usage import UsageError

    if arguments[0] not in COMMANDS:
        raise UsageError(describe_unknown_command(arguments))
    name, *options = complete_flags(arguments)
    command = COMMANDS[name]
    known, rest = command_options(name, options)
    if rest in (["-h"], ["--help"]) and (name in RUN_COMMANDS or known.help):
        print(brief_help(known, command.purpose) if name in RUN_COMMANDS else known.help)
        return
    modules: list[str] = []
    if command.imports:
        modules, options = split_imports(options)
    if command_computes(name, options):
        threads, options = split_threads(options)
        set_variables(os.environ, threads)
    if name in SCORED:
        options = expand_scored_run(options)
    if options in (["--help", "all"], ["-h", "all"], ["--help=all"]):
        options = ["--help"]  # of the command's own parser, which lists all
    options = prepare_arguments(name, options)
    check_settings(name, options, modules)
    from mmie.cli.parsing import plain_warnings  # imports the parser, which the checks do not need

    plain_warnings()
    module, function_name = command.function.split(":")
    function = getattr(importlib.import_module(module), function_name)
    interruption.start_command(GOES_ON if command.goes_on else AGAIN)
    with imported_plugins(modules, command.searches) if command.imports else nullcontext():
        function([name, *options] if command.receives_name else options)


def describe_unknown_command(arguments: Sequence[str]) -> str:
    """Describe an unknown command, and name what is meant.

    >>> describe_unknown_command(["help", "fit"])
    "unknown command 'help': for help on a command give mmie fit --help"
    """
    from mmie.utils.text import did_you_mean

    name, *rest = arguments
    if name == "help":
        if rest and rest[0] in COMMANDS:
            return f"unknown command 'help': for help on a command give mmie {rest[0]} --help"
        return "unknown command 'help': for the list of commands give mmie --help"
    if name == "version":
        return "unknown command 'version': for the versions give mmie --version"
    hint = did_you_mean(name, COMMANDS)
    return f"unknown command '{name}': expected one of {', '.join(COMMANDS)}{hint}"


def describe_version() -> str:
    """Return the versions of the package and of what its results depend on."""
    libraries = ("torch", "lightning", "transformers")
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    return f"mmie {version('mmie')} (Python {platform.python_version()}, {versions})"


def main() -> None:
    """Run ``mmie`` and report an error that the user can mend, or an interrupt, in one line.

    The exit status is 0 on success, 1 after an error, 2 after a wrong command line, and 128 plus
    the number of the signal that interrupted the command. With ``MMIE_DEBUG=1`` errors and
    interrupts keep their traceback.
    """
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        sys.exit(0 if arguments else 2)
    if arguments[0] in ("-V", "--version"):
        print(describe_version())
        return
    interruption = InterruptionHandler()
    interruption.install()
    from mmie.cli.usage import UsageError
    from mmie.types import MmieError
    from mmie.utils.terminal import print_lines
    from mmie.utils.text import describe_os_error

    try:
        run_command(arguments, interruption)
    except MmieError as error:
        if os.environ.get("MMIE_DEBUG"):
            raise
        print_lines(f"mmie: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else interruption.status(failed=1))
    except BrokenPipeError:  # `mmie ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if os.environ.get("MMIE_DEBUG"):
            raise
        print_lines(f"mmie: {describe_os_error(error)}", file=sys.stderr)
        sys.exit(interruption.status(failed=1))
    except Interruption as error:
        if os.environ.get("MMIE_DEBUG"):
            raise
        sys.exit(interruption.report(error.number, error.advice))
    except Exception:
        if interruption.number is None or os.environ.get("MMIE_DEBUG"):
            raise
        sys.exit(interruption.report(interruption.number))  # a library made another error of it
    finally:
        if interruption.number is None:
            interruption.uninstall()


def program() -> None:
    """Run ``mmie`` as a process of its own, whose end no interrupt disturbs."""
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
