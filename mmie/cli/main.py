"""The ``mmie`` command."""

import importlib
import os
import sys
from collections.abc import Sequence

_TRAINING = "mmie.cli.lightning:lightning_command"
COMMANDS = {
    "fit": "train a method on a corpus",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split and write its predictions",
    "predict": "write a checkpoint's predictions for the test split",
    "benchmark": "clock training steps and take them apart",
    "corpus": "make the demo corpus; count or check any corpus, or compute its features ahead of time",
    "sweep": "fit and test many runs: configurations, settings and seeds",
    "study": "low resource, cross-task or cross-domain, with the papers' figure",
    "compare": "compare the test scores of runs, and write a report",
    "diagnose": "show why a checkpoint answers as it does",
    "ground": "cut object crops out of pictures, and write their index",
    "extract": "find entities and relations in posts of one's own",
    "convert": "turn what was extracted into CoNLL, CSV, RDF, GraphML or an HTML graph",
    "export": "write a checkpoint as a folder to pass on, or as ONNX; send it to the hub",
    "serve": "a web page and a JSON endpoint for checkpoints",
    "methods": "list the methods: papers, switches, published scores",
}
"""What each command does."""
_FUNCTIONS = {
    "benchmark": "mmie.cli.experiments:benchmark_command",
    "corpus": "mmie.cli.corpus:corpus_command",
    "sweep": "mmie.cli.experiments:sweep_command",
    "study": "mmie.cli.experiments:study_command",
    "compare": "mmie.cli.reports:compare_command",
    "diagnose": "mmie.cli.reports:diagnose_command",
    "ground": "mmie.cli.ground:ground_command",
    "extract": "mmie.cli.extraction:extract_command",
    "convert": "mmie.cli.extraction:convert_command",
    "export": "mmie.cli.export:export_command",
    "serve": "mmie.cli.serve:serve_command",
    "methods": "mmie.cli.reports:methods_command",
}
"""Where commands are that take the options alone; the others are Lightning's, which are told their name as well."""


def overview() -> str:
    """All commands, with a line each."""
    lines = [f"  {name:<10}{purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mmie COMMAND [OPTION ...]",
            "",
            *lines,
            "",
            "mmie COMMAND --help lists its options.",
        ]
    )


def run_command(arguments: Sequence[str]) -> None:
    """Run the command that the first argument names.

    Raises:
        UsageError: There is no such command, or an option or setting is wrong.
    """
    from mmie.cli.parsing import (
        UsageError,
        complete_flags,
        plain_warnings,
    )  # takes seconds, which --help need not

    if arguments[0] not in COMMANDS:
        raise UsageError(f"unknown command '{arguments[0]}': expected one of {', '.join(COMMANDS)}")
    plain_warnings()
    command, *options = complete_flags(arguments)
    module, name = _FUNCTIONS.get(command, _TRAINING).split(":")
    function = getattr(importlib.import_module(module), name)
    function(options if command in _FUNCTIONS else [command, *options])


def main() -> None:
    """Run ``mmie``; what the user can mend is one line, with ``MMIE_DEBUG=1`` a traceback as well."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        sys.exit(0 if arguments else 2)
    from mmie.cli.parsing import UsageError
    from mmie.types import MmieError

    try:
        run_command(arguments)
    except MmieError as error:
        if os.environ.get("MMIE_DEBUG"):
            raise
        print(f"mmie: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
