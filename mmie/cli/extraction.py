"""``mmie extract``: checkpoints applied to one's own posts."""

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from rich.table import Table

from mmie.cli.conversion import FORMATS_HELP
from mmie.cli.extractors import (
    ExtractorSettings,
    add_onnx_arguments,
    add_result_arguments,
    build_extractor,
    onnx_settings,
    result_options,
)
from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.cli.plugins import IMPORT_HELP
from mmie.cli.source_options import add_source_options, source_options
from mmie.data.sources import STANDARD_INPUT
from mmie.inference.formats.conversion import WRITERS, check_suffix, convert
from mmie.inference.jobs.job_files import JobError, JobFiles, check_targets
from mmie.inference.jobs.local import ExtractionSummary, extract_to_file
from mmie.inference.jobs.progress import format_rate
from mmie.inference.jobs.ray_engine import RayOptions, extract_with_ray
from mmie.inference.predictor import Precision
from mmie.inference.relation_types import ANY, LABELS, TRAINING
from mmie.runs.folder import find_checkpoint
from mmie.utils.files import digest_path
from mmie.utils.locks import file_lock
from mmie.utils.signals import GOES_ON, continued_by, termination_interrupts
from mmie.utils.terminal import PlainConsole, print_lines

Engine = Literal["local", "onnx", "ray"]
_JSONL = ".jsonl"
_MAX_KINDS = 8
"""Most kinds of faults that the summary lists."""
_LOCAL_OPTIONS = {
    "device": "auto",
    "precision": "auto",
    "workers": 0,
    "fast_jpeg": False,
    "overwrite": False,
    "delimiter": None,
    "max_errors": None,
    "onnx_precision": "float32",
    "onnx_calibration": None,
    "onnx_graphs": None,
}
"""Options that the Ray engine does not take, and their defaults."""


def extract_command(arguments: Sequence[str]) -> None:
    """Run ``mmie extract``.

    Raises:
        UsageError: An option is wrong.
        MmieError: A checkpoint, the source or a file cannot be used, see `extract_to_file`, or no
            post of the source could be read.
    """
    settings = _extract_parser().parse_args(list(arguments))
    settings.out = list(map(path_or_url, settings.out))
    settings.pictures = settings.pictures and path_or_url(settings.pictures)
    if settings.engine == "ray":
        _extract_with_ray(settings)
        return
    for place in (settings.source, *settings.out, settings.pictures):
        if "://" in str(place):
            raise UsageError(f"{place}: URLs go with --engine ray")
    results, others = _targets(settings.out)
    with file_lock(results):
        with continued_by(_how_to_continue(settings)):
            summary = _extract(settings, results, others)
        with continued_by(_how_to_convert(results, others)), usage_errors():
            convert(results, others)
            JobFiles(results, {}).discard()
    PlainConsole().print(render_summary(summary))
    written = [results, *others]
    if summary.errors is not None:
        written.append(summary.errors)
    print_lines(*written)
    if not summary.totals.read:
        raise JobError(f"{settings.source}: expected posts, found none")
    if summary.totals.bad == summary.totals.read:
        raise JobError(
            f"{settings.source}: none of {summary.totals.read} posts could be read, the first "
            f"since {_first_reason(summary.errors)}"
        )


def path_or_url(value: str) -> Path | str:
    """Return a path, or a URL as it is.

    >>> path_or_url("s3://bucket/found"), path_or_url("found").name
    ('s3://bucket/found', 'found')
    """
    return value if "://" in value else Path(value)


def _first_reason(errors: Path | None) -> str:
    """Return the reason of the first post in a file of posts that could not be read."""
    if errors is None:
        return "of an unknown reason"
    with errors.open(encoding="utf-8") as lines:
        record = json.loads(next(lines))
    return f"{record['place']}: {record['reason']}"


def _extract(settings: Namespace, results: Path, others: Sequence[Path]) -> ExtractionSummary:
    """Extract to the file of JSON lines, whose lock is held.

    Args:
        settings: Options of ``mmie extract``.
        results: The file of JSON lines.
        others: Files that are converted from it later.
    """
    # an attempt that was interrupted at its end may have written some of its files already
    files = JobFiles(results, {})
    begun = files.read_targets()
    own = (results, files.errors, *others)
    targets = [path for path in own if path.absolute() not in begun]
    check_targets(settings.source, targets, settings.overwrite)
    with usage_errors():
        extractor = build_extractor(_extractor_settings(settings))
        return extract_to_file(
            extractor,
            settings.source,
            results,
            settings.pictures,
            _identity(settings),
            settings.overwrite,
            others,
            source_options(settings),
            settings.max_errors,
        )


def _how_to_continue(settings: Namespace) -> str:
    """Say what the same command does after an interruption."""
    if settings.overwrite:
        return "the same command begins anew"
    if settings.source == STANDARD_INPUT:
        return "the same command goes on with the same input"
    return GOES_ON


def _how_to_convert(results: Path, others: Sequence[Path]) -> str:
    """Say how to continue after an interruption behind the extraction."""
    advice = f"{results} is complete"
    if others:
        conversion = shlex.join(["mmie", "convert", str(results), "--out", *map(str, others)])
        advice += f", {conversion} writes the others"
    return advice


def _extractor_settings(settings: Namespace) -> ExtractorSettings:
    """Collect the options of the extractor."""
    return ExtractorSettings(
        ner=settings.ner,
        re=settings.re,
        device=settings.device,
        detector=settings.detector,
        num_crops=settings.num_crops,
        precision=settings.precision,
        batch_size=settings.batch_size,
        window=settings.window,
        workers=settings.workers or None,
        results=result_options(settings),
        onnx=onnx_settings(settings),
        fast_jpeg=settings.fast_jpeg,
    )


def render_summary(summary: ExtractionSummary) -> Table:
    """Render the result of a job as a table."""
    totals = summary.totals
    posts = str(totals.read)
    if summary.resumed:
        posts += f", {summary.resumed} of them before"
    table = Table(show_header=False, title="Extraction")
    table.add_row("posts", posts)
    table.add_row("could not be read", _with_kinds(totals.bad, totals.kinds_bad))
    table.add_row("read in part", _with_kinds(totals.problems, totals.kinds_problems))
    num_repeated, first = summary.repeated
    if num_repeated:
        table.add_row("ids of several posts", f"{num_repeated}: {', '.join(first)}")
    table.add_row("entities", str(totals.entities))
    table.add_row("relations", str(totals.relations))
    table.add_row("posts/s", format_rate(summary.rate))
    table.add_row("peak memory", f"{summary.peak_memory_gib:.2f} GiB")
    return table


def _with_kinds(count: int, kinds: Mapping[str, int]) -> str:
    """Render a count with its most frequent kinds, each on a line."""
    ordered = sorted(kinds.items(), key=lambda item: -item[1])
    lines = [str(count), *(f"{number} {kind}" for kind, number in ordered[:_MAX_KINDS])]
    if len(ordered) > _MAX_KINDS:
        lines.append(f"and {len(ordered) - _MAX_KINDS} kinds more")
    return "\n".join(lines)


def _targets(out: Sequence[Path]) -> tuple[Path, list[Path]]:
    """Return the file of JSON lines, and the files that are converted from it.

    Raises:
        UsageError: Several files of JSON lines are named.
        FormatError: A suffix is unknown.
    """
    for path in out:
        if path.suffix != _JSONL:
            check_suffix(path)
    json_lines = [path for path in out if path.suffix == _JSONL]
    if len(json_lines) > 1:
        raise UsageError(f"out names {len(json_lines)} files of JSON lines: expected one at most")
    results = json_lines[0] if json_lines else out[0].with_suffix(_JSONL)
    return results, [path for path in out if path != results]


def _identity(settings: Namespace) -> dict[str, Any]:
    """Return the settings that the results depend on, so that a job continues only with them."""
    names = ("device", "precision", "batch_size", "detector", "num_crops")
    identity = {name: settings[name] for name in names}
    for task in ("ner", "re"):
        checkpoint = settings[task]
        identity[task] = None
        if checkpoint is not None:
            identity[task] = digest_path(Path(find_checkpoint(checkpoint)))
    identity["pictures"] = str(settings.pictures or "")
    identity.update(asdict(result_options(settings)))
    if settings.fast_jpeg:
        identity["fast_jpeg"] = True
    onnx = onnx_settings(settings)
    if onnx is not None:
        identity["onnx"] = [onnx.precision, str(onnx.calibration or "")]
    if settings.relation_types not in (ANY, LABELS, TRAINING):
        identity["relation_types"] = digest_path(Path(settings.relation_types).expanduser())
    return identity


def _extract_with_ray(settings: Namespace) -> None:
    """Run ``mmie extract --engine ray``.

    Raises:
        UsageError: An option is one that the Ray engine does not take.
        MmieError: A checkpoint or the source cannot be used; see `extract_with_ray`.
    """
    _check_ray_options(settings)
    (out,) = settings.out
    checkpoints = {task: settings[task] for task in ("ner", "re") if settings[task] is not None}
    options = RayOptions(
        batch_size=settings.batch_size,
        window=settings.window,
        num_actors=settings.actors,
        results=result_options(settings),
        follow_links=settings.follow_links,
        rows_per_file=settings.rows_per_file,
        detector=settings.detector,
        num_crops=settings.num_crops,
    )
    images = None if settings.pictures is None else str(settings.pictures)
    with (
        continued_by(GOES_ON),
        file_lock(out) if isinstance(out, Path) else nullcontext(),
        termination_interrupts(),
    ):
        summary = extract_with_ray(settings.source, str(out), checkpoints, images, options)
    posts = f"{summary.posts} posts"
    if summary.resumed:
        posts += f", {summary.resumed} of them before"
    print_lines(f"{posts}, {summary.with_problems} of them read in part, in {out}")
    if not summary.posts:
        raise JobError(f"{settings.source}: expected posts, found none")
    if summary.unreadable == summary.posts:
        raise JobError(f"{settings.source}: none of {summary.posts} posts could be read: see {out}")


def _check_ray_options(settings: Namespace) -> None:
    """Check that no option is one that the Ray engine does not take.

    Raises:
        UsageError: The Ray engine does not take an option.
    """
    if len(settings.out) != 1:
        raise UsageError("--engine ray writes one folder of Parquet files: name one")
    if Path(settings.out[0]).suffix in {_JSONL, *WRITERS}:
        raise UsageError(
            f"--engine ray writes a folder of Parquet files: name a folder, not {settings.out[0]}"
        )
    given = [f"--{name}" for name, default in _LOCAL_OPTIONS.items() if settings[name] != default]
    if given:
        raise UsageError(
            f"--engine ray takes no {', '.join(given)}: each actor takes a GPU if there is one, "
            "or else a core"
        )


def _extract_parser() -> OneLineParser:
    """Build the parser of ``mmie extract``."""
    parser = OneLineParser(
        prog="mmie extract",
        description="Find entities, and relations between them, in one's own posts. A job that "
        "was killed continues where it stopped. Of several jobs with one target the first writes.",
        epilog=IMPORT_HELP,
    )
    _add_file_arguments(parser)
    _add_model_arguments(parser)
    add_result_arguments(parser)
    _add_compute_arguments(parser)
    return parser


def _add_file_arguments(parser: OneLineParser) -> None:
    """Add the arguments of what is read and written."""
    parser.add_argument(
        "source",
        type=str,
        help="posts.jsonl, .json, .csv or .tsv, a folder of <id>.txt and <id>.jpg, or - for JSON "
        "lines from standard input. With --engine ray, a .jsonl or .parquet file, or a folder of "
        "them; source, --out and --pictures may be URLs such as s3://bucket/posts.",
    )
    parser.add_argument("--out", "-o", type=str, nargs="+", required=True, help=FORMATS_HELP)
    parser.add_argument(
        "--overwrite", action="store_true", help="Begin anew, and replace existing files."
    )
    parser.add_argument(
        "--pictures",
        type=str,
        help="Folder that pictures' paths are relative to; paths outside it are refused.",
    )
    add_source_options(parser)
    parser.add_argument(
        "--max_errors",
        type=NonNegativeInt | None,
        default=None,
        help="Stop with an error if more posts cannot be read; by default all others are read.",
    )


def _add_model_arguments(parser: OneLineParser) -> None:
    """Add the options that name the checkpoints and the object detector."""
    parser.add_argument(
        "--ner", type=str | None, default=None, help="Run folder or checkpoint that finds entities."
    )
    parser.add_argument(
        "--re", type=str | None, default=None, help="Run folder or checkpoint that finds relations."
    )
    parser.add_argument(
        "--detector",
        type=str,
        default="none",
        help="Detector that cuts object crops: none, or one that mmie ground --help lists.",
    )
    parser.add_argument(
        "--num_crops",
        type=PositiveInt,
        default=3,
        help="Number of crops that the detector cuts from a picture.",
    )


def _add_compute_arguments(parser: OneLineParser) -> None:
    """Add the arguments of how the results are computed."""
    parser.add_argument(
        "--device", type=str, default="auto", help="auto takes a GPU if there is one."
    )
    parser.add_argument(
        "--precision", type=Precision, default="auto", help="auto is bfloat16 on a GPU."
    )
    parser.add_argument(
        "--batch_size", type=PositiveInt, default=32, help="Posts that are computed together."
    )
    parser.add_argument(
        "--window", type=PositiveInt, default=256, help="Posts that are sorted by length together."
    )
    parser.add_argument(
        "--workers",
        type=NonNegativeInt,
        default=0,
        help="Threads that decode pictures; 0: one per core, 8 at most.",
    )
    parser.add_argument(
        "--fast_jpeg",
        action="store_true",
        help="Reduce JPEG pictures while they are decoded, not below the size that the methods "
        "see. Views differ slightly from those of a fit.",
    )
    parser.add_argument(
        "--engine",
        type=Engine,
        default=get_args(Engine)[0],
        help="local: this process with PyTorch; onnx: this process with ONNX Runtime on the CPU; "
        "ray: a Ray Data job that writes Parquet files.",
    )
    add_onnx_arguments(parser)
    parser.add_argument(
        "--actors", type=PositiveInt, default=1, help="Copies of the models, with --engine ray."
    )
    parser.add_argument(
        "--rows_per_file",
        type=PositiveInt,
        default=10_000,
        help="Largest number of posts in a file of results, with --engine ray, rounded up to whole "
        "windows. A job that was interrupted goes on behind its last whole file.",
    )
