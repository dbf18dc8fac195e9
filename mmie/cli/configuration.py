"""``mmie config``: the configurations that travel with the package."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from mmie.cli.parsing import OneLineParser
from mmie.utils.configurations import configuration_names, find_configuration
from mmie.utils.files import read_yaml
from mmie.utils.terminal import PlainConsole, printable

_MAX_SETTINGS = 4
"""Most settings of an overlay that the table lists."""


def config_command(arguments: Sequence[str]) -> None:
    """Run ``mmie config list`` or ``mmie config show``.

    Raises:
        UsageError: An option is wrong.
        ConfigurationNotFound: No configuration has the name.
    """
    settings = _config_parser().parse_args(list(arguments))
    if settings.subcommand == "list":
        PlainConsole().print(render_configurations())
        return
    text = find_configuration(settings.show.name).read_text(encoding="utf-8")
    print(printable(text, multiline=True), end="")


def render_configurations() -> Table:
    """Render a table of all configurations, each with what it holds."""
    table = Table(box=None)
    table.add_column("name", no_wrap=True)
    table.add_column("content")
    for name in configuration_names():
        table.add_row(name, describe_configuration(read_yaml(find_configuration(name))))
    return table


def describe_configuration(settings: Mapping[str, Any]) -> str:
    """Describe a configuration in a line.

    Args:
        settings: Content of the file.

    Returns:
        Method, corpus and task of a complete configuration; the settings of an overlay, which is
        laid over a complete one.
    """
    model, data = settings.get("model", {}), settings.get("data", {})
    if "class_path" in model and "corpus" in data:
        method = model["class_path"].rpartition(".")[2]
        corpus = data["corpus"]["class_path"].rpartition(".")[2]
        return f"{method} on {corpus} ({data['task']})"
    changes = _leaves(settings)
    listed = ", ".join(changes[:_MAX_SETTINGS])
    more = len(changes) - _MAX_SETTINGS
    return f"{listed} and {more} more" if more > 0 else listed


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """List the settings of an overlay as ``name=value``, with the names of the command line."""
    leaves = []
    for name, value in settings.items():
        path = prefix if name == "init_args" else f"{prefix}.{name}".lstrip(".")
        if isinstance(value, dict):
            leaves += _leaves(value, path)
        else:
            leaves.append(f"{path}={value}")
    return leaves


def _config_parser() -> OneLineParser:
    """Build the parser of ``mmie config``."""
    parser = OneLineParser(
        prog="mmie config",
        description="List or show the configurations that --config takes by name.",
    )
    commands = parser.add_subcommands()
    listing = OneLineParser(description="List the configurations, and what each is for.")
    commands.add_subcommand("list", listing, help="list the configurations")
    show = OneLineParser(
        description="Print a configuration, to be read or to be changed as a file of one's own: "
        "mmie config show rap_mnre > mine.yaml"
    )
    show.add_argument("name", type=str, help="Its name, or a file.")
    commands.add_subcommand("show", show, help="print a configuration")
    return parser
