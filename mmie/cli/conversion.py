"""``mmie convert``: annotations and extractions in the formats of other programs."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.data.sources import BadPost
from mmie.formats import FORMATS, Conversion, Format, ReadOptions, convert_file, recognise
from mmie.formats.conversion import RecordWriter, errors_file
from mmie.formats.pictures import PicturePolicy
from mmie.formats.registry import find_format
from mmie.inference.formats.conversion import record_writer
from mmie.inference.jobs.job_files import check_targets
from mmie.utils.terminal import print_lines
from mmie.utils.text import did_you_mean

FORMATS_HELP = "Files: .jsonl, .conll, .csv (triples), .ttl, .graphml, .html."
_GRAPHS = {"triples": ".csv", "turtle": ".ttl", "graphml": ".graphml", "html": ".html"}
"""Formats of relations between posts, which are only written, and their suffixes."""
_OWN = {".jsonl": "jsonl", ".json": "json"}
"""Formats of suffixes that several formats have."""


def convert_command(arguments: Sequence[str]) -> None:
    """Run ``mmie convert``.

    Raises:
        UsageError: An option is wrong.
        JobError: A target is the file itself, or exists and ``--overwrite`` is missing.
        FormatError: The file cannot be read, or a target's suffix is unknown.
    """
    settings = _convert_parser().parse_args(list(arguments))
    options = ReadOptions(
        _parse_columns(settings.columns),
        tuple(settings.tag_names),
        settings.split,
        settings.pictures,
    )
    with usage_errors():
        names = [_output_format(target, settings.to) for target in settings.out]
        written = [*settings.out, *map(errors_file, settings.out)]
        check_targets(str(settings.source), written, settings.overwrite)
        source_name = settings["from"]
        if source_name is None:
            source_format = recognise(settings.source)
        else:
            source_format = find_format(source_name)
        for index, (target, name) in enumerate(zip(settings.out, names, strict=True)):
            result = _convert(settings, target, name, source_format, options)
            _report(settings, target, source_format, result, is_first=index == 0)
    print_lines(*settings.out)


def _convert(
    settings: Namespace, target: Path, name: str, source_format: Format, options: ReadOptions
) -> Conversion:
    """Write one target.

    Args:
        settings: Options of the command.
        target: The file or folder.
        name: Name of its format.
        source_format: Format of the source.
        options: How to read the source.
    """
    writer: RecordWriter
    pictures: PicturePolicy | None = None
    if name in _GRAPHS:
        writer = record_writer(_GRAPHS[name])
    else:
        writer = FORMATS[name].write
        pictures = settings.picture_files if FORMATS[name].holds_pictures else None
    return convert_file(settings.source, target, source_format, writer, options, pictures)


def _output_format(target: Path, name: str | None) -> str:
    """Return the name of a target's format.

    Raises:
        UsageError: The name or suffix is unknown, or the format is only read.
    """
    written = {format.name: format for format in FORMATS.values() if format.writes}
    if name is not None:
        if name not in written and name not in _GRAPHS:
            expected = ", ".join([*written, *_GRAPHS])
            hint = did_you_mean(name, [*written, *_GRAPHS])
            raise UsageError(f"--to {name}: expected one of {expected}{hint}")
        return name
    suffix = target.suffix.lower()
    suffixes = {suffix: name for name, suffix in _GRAPHS.items()} | _OWN
    for format in written.values():
        for own in format.suffixes:
            suffixes.setdefault(own, format.name)
    if suffix not in suffixes:
        raise UsageError(
            f"{target}: expected a name that ends in one of {', '.join(sorted(suffixes))}, or --to "
            f"with one of {', '.join([*written, *_GRAPHS])}"
        )
    return suffixes[suffix]


def _parse_columns(items: Sequence[str]) -> dict[str, str]:
    """Return the columns or keys by the part of a post.

    Raises:
        UsageError: An item is not of the form ``part=name``.
    """
    columns: dict[str, str] = {}
    for item in items:
        part, equals, name = item.partition("=")
        if not (part and equals and name):
            raise UsageError(f"--columns: expected part=name, such as text=tweet, found '{item}'")
        columns[part] = name
    return columns


def _report(
    settings: Namespace, target: Path, source_format: Format, result: Conversion, is_first: bool
) -> None:
    """Print on standard error how the source was read, and what was written.

    Args:
        settings: Options of the command.
        target: The file or folder that was written.
        source_format: Format of the source.
        result: What was found and written.
        is_first: Whether it is the first target, with which the source is described.
    """
    lines: list[str] = []
    if is_first:
        found = "; ".join(result.read.found)
        lines.append(f"{settings.source}: read as {source_format.name}{found and ': '}{found}")
        lines += _bad_lines(target, result.bad)
    lines += [f"not used: {_list(result.read.unused)}"] if result.read.unused else []
    lines += [f"note: {_list(result.read.remarks)}"] if result.read.remarks else []
    counts = []
    for noun, counter in (("entities", result.types), ("relations", result.labels)):
        listed = ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))
        counts.append(f"{counter.total()} {noun}{listed and f' ({listed})'}")
    lines.append(f"{target}: {result.posts} posts, {', '.join(counts)}")
    print_lines(*lines, file=sys.stderr)


def _bad_lines(target: Path, bad: Sequence[BadPost]) -> list[str]:
    """Describe the posts that could not be read."""
    if not bad:
        return []
    first = f"{bad[0].place}: {bad[0].reason}"
    return [f"{len(bad)} posts could not be read, see {errors_file(target)}; the first, {first}"]


def _list(counts: Counter[str]) -> str:
    """List kinds with their numbers, the most frequent first."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


def _convert_parser() -> OneLineParser:
    """Build the parser of ``mmie convert``."""
    readable = ", ".join(FORMATS)
    parser = OneLineParser(
        prog="mmie convert",
        description="Convert annotations of other programs to mmie's posts, posts or results of "
        "mmie extract to other formats, and results to CSV of triples, RDF Turtle, GraphML or an "
        "HTML graph. What cannot be used is named and counted.",
    )
    parser.add_argument("source", type=Path, help="File or folder to read.")
    parser.add_argument(
        "--out",
        "-o",
        type=Path,
        nargs="+",
        required=True,
        help="Files to write, or a folder. The format is told by the suffix, e.g. .jsonl, .conll, "
        ".csv (triples; posts with --to tables), .ttl, .graphml, .html.",
    )
    parser.add_argument(
        "--from", type=str, help=f"Format of the source, if it is not found: {readable}."
    )
    parser.add_argument(
        "--to",
        type=str,
        help="Format to write, if the suffix does not tell: one of --from, or "
        f"{', '.join(_GRAPHS)}.",
    )
    parser.add_argument(
        "--columns",
        type=str,
        nargs="+",
        default=[],
        help="Columns or keys by the part of a post, where they are not found: text=tweet tags=4.",
    )
    parser.add_argument(
        "--tag_names", type=str, nargs="+", default=[], help="Tags in the order of their ids."
    )
    parser.add_argument("--split", type=str, help="Split to read, if there are several.")
    parser.add_argument(
        "--pictures",
        type=Path,
        help="Folder that paths of pictures are relative to. Default: that of the source.",
    )
    parser.add_argument(
        "--picture_files",
        type=PicturePolicy,
        default="link",
        help="Make hard links to pictures outside of the folder of --out in its images/, copy "
        "them, or leave them out.",
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace existing files.")
    return parser
