"""Run folders on command lines: the options that a run folder stands for."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from mmie.cli.usage import UsageError
from mmie.runs.folder import best_checkpoint, find_config

SCORED = ("validate", "test", "predict")
"""Commands of Lightning that take a run folder in place of its options."""
_FLAGS = frozenset({"-h", "--help", "--print_config"})
"""Options that take no value, or one behind ``=``."""
_OPTION = re.compile(r"--?[A-Za-z]")


def split_run(
    arguments: Sequence[str], flags: Collection[str] = ()
) -> tuple[str | None, list[str]]:
    """Separate the run folder, the one argument that is neither option nor value, from the others.

    Args:
        arguments: Arguments of a command whose other options take one value each.
        flags: Options of the command that take none.

    Returns:
        The run folder, None without one, and the other arguments.

    Raises:
        UsageError: Several arguments are neither options nor values.

    >>> split_run(["--data.pictures", "shuffled", "runs/x", "--seed_everything=5"])
    ('runs/x', ['--data.pictures', 'shuffled', '--seed_everything=5'])
    """
    runs, others = [], []
    takes_value = False
    for argument in arguments:
        is_option = _OPTION.match(argument) is not None
        if takes_value or is_option or argument.startswith("-"):
            others.append(argument)
        else:
            runs.append(argument)
        takes_value = is_option and "=" not in argument and argument not in {*_FLAGS, *flags}
    if len(runs) > 1:
        raise UsageError(f"expected one run folder, found {' and '.join(runs)}")
    return (runs[0] if runs else None), others


def expand_scored_run(arguments: Sequence[str]) -> list[str]:
    """Replace a run folder on a line of ``validate``, ``test`` or ``predict`` by its options.

    They come first, so that the other arguments override them.

    Args:
        arguments: The command's arguments.

    Raises:
        UsageError: Several run folders are named, or a file.
        RunFolderError: The folder lacks its configuration, or its best checkpoint where the
            arguments name no other.
    """
    run, others = split_run(arguments)
    if run is None:
        return others
    config = run_config(run)
    expanded = [f"--config={config}", f"--run_dir={run}"]
    if not names_option(others, "--ckpt_path"):
        expanded.append(f"--ckpt_path={best_checkpoint(config.parent)}")
    return [*expanded, *others]


def expand_benchmarked_run(arguments: Sequence[str]) -> list[str]:
    """Replace a run folder on a line of ``benchmark`` by its configuration.

    Args:
        arguments: The arguments that ``benchmark`` shares with ``fit``.

    Raises:
        UsageError: Several run folders are named, or a file.
        RunFolderError: The folder lacks its configuration.
    """
    run, others = split_run(arguments)
    return others if run is None else [f"--config={run_config(run)}", *others]


def run_config(run: str) -> Path:
    """Return the path of a run folder's configuration.

    Raises:
        UsageError: A file is named.
        RunFolderError: The folder is missing or lacks its configuration.
    """
    if Path(run).is_file():
        raise UsageError(
            f"{run} is a file: expected a run folder; name a configuration with --config {run}, or "
            f"a checkpoint with --ckpt_path {run}"
        )
    return find_config(Path(run))


def names_option(arguments: Sequence[str], option: str) -> bool:
    """Tell whether an option is among arguments."""
    return any(argument.partition("=")[0] == option for argument in arguments)
