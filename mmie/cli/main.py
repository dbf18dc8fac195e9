"""Dispatch of the `mmie` command. Each command's module is imported only when it is run."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple


class Command(NamedTuple):
    """A command of ``mmie``.

    Attributes:
        function: Module and name of the function that runs it.
        purpose: One line for the overview.
        receives_name: Whether the function receives the command's name before its options.
    """

    function: str
    purpose: str
    receives_name: bool = False


_LIGHTNING = "mmie.cli.lightning:lightning_command"
COMMANDS = {
    "fit": Command(_LIGHTNING, "train a method on a corpus", True),
    "validate": Command(_LIGHTNING, "score a checkpoint on the validation split", True),
    "test": Command(
        _LIGHTNING, "score a checkpoint on the test split and write its predictions", True
    ),
    "predict": Command(_LIGHTNING, "write a checkpoint's predictions for the test split", True),
    "benchmark": Command(
        "mmie.cli.experiments:benchmark_command", "time training steps and their parts"
    ),
    "corpus": Command(
        "mmie.cli.corpus:corpus_command",
        "write the demo corpus; pair, count or check any corpus; fill its feature cache",
    ),
    "sweep": Command(
        "mmie.cli.experiments:sweep_command",
        "fit and test many runs: configurations, settings and seeds",
    ),
    "study": Command(
        "mmie.cli.study:study_command",
        "ablations, pretraining, cross-task and further studies of the papers; certificates",
    ),
    "compare": Command(
        "mmie.cli.reports:compare_command", "compare the test scores of runs and write a report"
    ),
    "diagnose": Command("mmie.cli.reports:diagnose_command", "explain a checkpoint's predictions"),
    "certify": Command(
        "mmie.cli.reports:certify_command",
        "test and measure how much of a checkpoint's score needs the right pictures",
    ),
    "ground": Command(
        "mmie.cli.ground:ground_command", "cut object crops out of pictures and write their index"
    ),
    "extract": Command(
        "mmie.cli.extraction:extract_command", "find entities and relations in one's own posts"
    ),
    "convert": Command(
        "mmie.cli.extraction:convert_command",
        "convert extractions to CoNLL, CSV, RDF, GraphML or an HTML graph",
    ),
    "import": Command(
        "mmie.cli.importing:import_command", "convert the weights of a public code to a checkpoint"
    ),
    "export": Command(
        "mmie.cli.export:export_command",
        "write a checkpoint as a folder to pass on, or as ONNX; send it to the hub",
    ),
    "serve": Command(
        "mmie.cli.serve:serve_command", "serve checkpoints as a web page and a JSON endpoint"
    ),
    "methods": Command(
        "mmie.cli.reports:methods_command", "list the methods: papers, switches, published scores"
    ),
}
"""All commands by name, in the order of the overview."""


def overview() -> str:
    """Return the list of all commands, a line each."""
    lines = [f"  {name:<10}{command.purpose}" for name, command in COMMANDS.items()]
    usage = "usage: mmie COMMAND [OPTION ...]"
    return "\n".join([usage, "", *lines, "", "mmie COMMAND --help lists its options."])


def run_command(arguments: Sequence[str]) -> None:
    """Run the command that the first argument names.

    Raises:
        UsageError: The command is unknown, or an option or setting is wrong.
    """
    from mmie.cli.parsing import UsageError, complete_flags, plain_warnings  # imports for seconds

    if arguments[0] not in COMMANDS:
        expected = ", ".join(COMMANDS)
        raise UsageError(f"unknown command '{arguments[0]}': expected one of {expected}")
    plain_warnings()
    name, *options = complete_flags(arguments)
    command = COMMANDS[name]
    module, function_name = command.function.split(":")
    function = getattr(importlib.import_module(module), function_name)
    function([name, *options] if command.receives_name else options)


def main() -> None:
    """Run ``mmie`` and report an error that the user can mend in one line.

    With ``MMIE_DEBUG=1`` such an error keeps its traceback.
    """
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        sys.exit(0 if arguments else 2)
    from mmie.cli.parsing import UsageError
    from mmie.types import MmieError
    from mmie.utils.terminal import print_lines

    try:
        run_command(arguments)
    except MmieError as error:
        if os.environ.get("MMIE_DEBUG"):
            raise
        print_lines(f"mmie: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
