"""``mmie convert``: extractions in the formats that other programs read."""

from collections.abc import Sequence
from pathlib import Path

from mmie.cli.parsing import OneLineParser, usage_errors
from mmie.inference.formats.conversion import convert
from mmie.inference.jobs.job_files import check_targets
from mmie.utils.terminal import print_lines

FORMATS_HELP = "Files: .jsonl, .conll, .csv (triples), .ttl, .graphml, .html."


def convert_command(arguments: Sequence[str]) -> None:
    """Run ``mmie convert``.

    Raises:
        UsageError: An option is wrong.
        JobError: A target is the file itself, or exists and ``--overwrite`` is missing.
        FormatError: A line of the file is no extraction, or a target's suffix is unknown.
    """
    settings = _convert_parser().parse_args(list(arguments))
    with usage_errors():
        check_targets(str(settings.found), settings.out, settings.overwrite)
        convert(settings.found, settings.out)
    print_lines(*settings.out)


def _convert_parser() -> OneLineParser:
    """Build the parser of ``mmie convert``."""
    parser = OneLineParser(
        prog="mmie convert",
        description="Convert the results of mmie extract to CoNLL, CSV of triples, RDF Turtle, "
        "GraphML or an HTML graph.",
    )
    parser.add_argument("found", type=Path, help="File of JSON lines that mmie extract wrote.")
    parser.add_argument("--out", "-o", type=Path, nargs="+", required=True, help=FORMATS_HELP)
    parser.add_argument("--overwrite", action="store_true", help="Replace existing files.")
    return parser
