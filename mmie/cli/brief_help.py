"""Short help of the commands that run a configuration, and the help of the whole program."""

import textwrap
from collections.abc import Iterable

from mmie.cli.options import CommandOptions, Option

_WIDTH = 100
_COLUMN = 26
"""Width of the column of names."""
_OWN = (
    "--config",
    "--run_dir",
    "--overwrite",
    "--ckpt_path",
    "--seed_everything",
    "--feature_store",
    "--threads",
    "--wandb",
    "--print_config",
)
_COMMON = (
    "--trainer.max_epochs",
    "--trainer.accelerator",
    "--trainer.devices",
    "--trainer.precision",
    "--trainer.accumulate_grad_batches",
    "--trainer.gradient_clip_val",
    "--trainer.fast_dev_run",
)
"""Settings of Lightning's trainer that are named in the short help."""


_TEXTS = {
    "--config": "Configuration: a file, or a name that mmie config list shows",
    "--ckpt_path": "Checkpoint that is continued or tested: a file, best or last",
    "--seed_everything": "Seed of everything random",
    "--print_config": "Print all settings and run nothing",
    "--trainer.precision": "32-true, 16-mixed or bf16-mixed",
    "--trainer.accelerator": "auto, cpu or gpu",
    "--trainer.devices": "Number of devices, or a list of their indices",
    "--trainer.fast_dev_run": "Run this number of batches of each split and write nothing",
}
"""Texts for options of the libraries, which describe themselves at length."""


def brief_help(options: CommandOptions, purpose: str) -> str:
    """Return the short help of a command that runs a configuration.

    The package's own options come first, then the most used ones of Lightning's trainer.

    Args:
        options: Options of the command.
        purpose: What the command does.
    """
    name = options.name
    known = options.by_flag
    data = [option for option in options.options if option.flags[0].startswith("--data.")]
    sections = [
        f"usage: mmie {name} --config NAME [OPTION ...]",
        f"{purpose[0].upper()}{purpose[1:]}. --config takes a file or a name that mmie config list "
        "shows. It may be given several times: later ones override earlier ones, and options "
        "override configurations.",
        _section("the run", [known[flag] for flag in _OWN if flag in known]),
        _section("the method", [known["--model"]]),
        _section("the data", [option for option in data if not option.flags[0].endswith(".help")]),
        _section("Lightning's trainer", [known[flag] for flag in _COMMON if flag in known]),
        f"mmie {name} --help all lists all options, and mmie {name} --model.help RAP those of a "
        "method.",
    ]
    # a section with lines is laid out already
    return "\n\n".join(
        section if "\n" in section else textwrap.fill(section, _WIDTH) for section in sections
    )


def _section(title: str, options: Iterable[Option]) -> str:
    """Return a section of the help."""
    lines = [f"{title}:"]
    for option in options:
        text = _TEXTS.get(option.flags[0], option.help.split(". ")[0].rstrip(".").replace("``", ""))
        if option.choices:
            text += f": {', '.join(option.choices)}"
        if option.classes:
            text = f"{', '.join(option.classes)}, or the import path of a class"
        if option.default:
            text += f" (default: {option.default})"
        lines.append(_row(", ".join(option.flags), text))
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    """Return a name with the text that explains it beside or below it."""
    indent = " " * _COLUMN
    body = textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    head = f"  {name}"
    if len(head) > _COLUMN - 2:
        return f"{head}\n{body}"
    return f"{head:<{_COLUMN}}{body.lstrip()}"
