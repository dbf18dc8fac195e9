"""The part of the command that applies checkpoints to one's own posts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from rich.console import Console
from rich.table import Table

from mmie.cli.extractors import ExtractorSettings, build_extractor
from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.export.onnx import export_onnx
from mmie.export.pretrained import push_to_hub, save_pretrained
from mmie.inference.formats.conversion import WRITERS, check_suffix, convert
from mmie.inference.jobs.local import Outcome, check_targets, extract_to_file, format_rate
from mmie.inference.jobs.ray_engine import extract_with_ray
from mmie.inference.predictor import Precision
from mmie.utils.files import digest_path

Engine = Literal["local", "ray"]
_JSONL = ".jsonl"


def extract_command(arguments: Sequence[str]) -> None:
    """``mmie extract``.

    Raises:
        UsageError: An option is wrong.
        MmieError: A checkpoint, the source or a file cannot be used; see `extract_to_file`.
    """
    settings = _extract_parser().parse_args(list(arguments))
    if settings.engine == "ray":
        _extract_with_ray(settings)
        return
    found, others = _targets(settings.out)
    check_targets(settings.source, [found, *others], settings.overwrite)
    options = ExtractorSettings(
        ner=settings.ner,
        re=settings.re,
        device=settings.device,
        detector=settings.detector,
        num_crops=settings.num_crops,
        precision=settings.precision,
        batch_size=settings.batch_size,
        window=settings.window,
        workers=settings.workers or None,
    )
    with usage_errors():
        extractor = build_extractor(options)
        outcome = extract_to_file(
            extractor,
            settings.source,
            found,
            settings.pictures,
            _identity(settings),
            settings.overwrite,
        )
        convert(found, others)
    Console().print(render_outcome(outcome))
    print("\n".join(str(path) for path in (found, *others, outcome.errors) if path is not None))


def convert_command(arguments: Sequence[str]) -> None:
    """``mmie convert``.

    Raises:
        UsageError: An option is wrong.
        FormatError: The file holds something else, or a name ends in no known suffix.
    """
    parser = OneLineParser(
        prog="mmie convert",
        description="Turn what mmie extract found into CoNLL, CSV of triples, RDF Turtle, GraphML or an HTML graph.",
    )
    parser.add_argument("found", type=Path, help="File of JSON lines that mmie extract wrote.")
    parser.add_argument("--out", "-o", type=Path, nargs="+", required=True, help=_FORMS)
    settings = parser.parse_args(list(arguments))
    with usage_errors():
        convert(settings.found, settings.out)
    print("\n".join(map(str, settings.out)))


def export_command(arguments: Sequence[str]) -> None:
    """``mmie export``.

    Raises:
        UsageError: An option is wrong.
        MmieError: The checkpoint cannot be used, the folder not written, or the hub not reached.
    """
    parser = OneLineParser(
        prog="mmie export",
        description="Write a checkpoint as a folder to pass on: safetensors, JSON and a model card.",
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="A checkpoint that mmie fit wrote."
    )
    parser.add_argument(
        "--out", "-o", type=Path, required=True, help="Folder to write, empty or not there yet."
    )
    parser.add_argument(
        "--onnx", action="store_true", help="Write ONNX graphs as well, and compare them."
    )
    parser.add_argument(
        "--push", type=str | None, default=None, help="owner/name on the hub to send it to."
    )
    parser.add_argument("--private", action="store_true", help="Make a new repository private.")
    settings = parser.parse_args(list(arguments))
    with usage_errors():
        print(save_pretrained(settings.checkpoint, settings.out))
        if settings.onnx:
            graphs = export_onnx(settings.checkpoint, settings.out / "onnx")
            print(
                f"{graphs.folder}: at most {graphs.difference:.1e} of the largest score from PyTorch's numbers"
            )
        if settings.push is not None:
            print(push_to_hub(settings.out, settings.push, settings.private))


def render_outcome(outcome: Outcome) -> Table:
    """What came of a job, as a table."""
    totals = outcome.totals
    table = Table(show_header=False, title="Extraction")
    table.add_row(
        "posts",
        f"{totals.read}" + (f", {outcome.resumed} of them before" if outcome.resumed else ""),
    )
    table.add_row("could not be read", str(totals.bad))
    table.add_row("read in part", str(totals.problems))
    table.add_row("entities", str(totals.entities))
    table.add_row("relations", str(totals.relations))
    table.add_row("posts/s", format_rate(outcome.rate))
    table.add_row("peak memory", f"{outcome.peak_memory_gib:.2f} GiB")
    return table


def _targets(out: Sequence[Path]) -> tuple[Path, list[Path]]:
    """The file of JSON lines, and the others, which are made of it."""
    for path in out:
        if path.suffix != _JSONL:
            check_suffix(path)
    named = [path for path in out if path.suffix == _JSONL]
    if len(named) > 1:
        raise UsageError(f"out names {len(named)} files of JSON lines: expected one at most")
    found = named[0] if named else out[0].with_suffix(_JSONL)
    return found, [path for path in out if path != found]


def _identity(settings: Namespace) -> dict[str, Any]:
    """What a result depends on, so that a job goes on only with the same."""
    names = ("device", "precision", "batch_size", "detector", "num_crops")
    files = {
        task: None if settings[task] is None else digest_path(Path(settings[task]))
        for task in ("ner", "re")
    }
    return {
        **{name: settings[name] for name in names},
        **files,
        "pictures": str(settings.pictures or ""),
    }


def _extract_with_ray(settings: Namespace) -> None:
    """``mmie extract --engine ray``."""
    if len(settings.out) != 1 or settings.detector != "none":
        raise UsageError(
            "--engine ray writes one folder of Parquet files and cuts no crops: run mmie ground before"
        )
    if settings.out[0].suffix in {_JSONL, *WRITERS}:
        raise UsageError(
            f"--engine ray writes a folder of Parquet files: name a folder, not {settings.out[0]}"
        )
    idle = [f"--{name}" for name, usual in _NOT_FOR_RAY.items() if settings[name] != usual]
    if idle:
        raise UsageError(
            f"--engine ray takes no {', '.join(idle)}: its actors take a GPU each, or a core, as they are"
        )
    checkpoints = {task: settings[task] for task in ("ner", "re") if settings[task] is not None}
    outcome = extract_with_ray(
        settings.source,
        str(settings.out[0]),
        checkpoints,
        settings.batch_size,
        settings.actors,
        window=settings.window,
        images=None if settings.pictures is None else str(settings.pictures),
    )
    print(
        f"{outcome.posts} posts, {outcome.with_problems} of them read in part, in {settings.out[0]}"
    )


_NOT_FOR_RAY = {"device": "auto", "precision": "auto", "workers": 0, "overwrite": False}
"""Options of the plain engine alone, and what they are unless they are given."""
_FORMS = "Files: .jsonl, .conll, .csv (triples), .ttl, .graphml, .html."


def _extract_parser() -> OneLineParser:
    """What ``mmie extract`` understands."""
    parser = OneLineParser(
        prog="mmie extract",
        description="Find entities, and relations between them, in posts of one's own. A job that was killed goes on "
        "where it stopped.",
    )
    parser.add_argument(
        "source",
        type=str,
        help="posts.jsonl, .csv or .tsv, a folder of <id>.txt and <id>.jpg, or - for JSON lines from standard input.",
    )
    parser.add_argument("--out", "-o", type=Path, nargs="+", required=True, help=_FORMS)
    parser.add_argument(
        "--ner", type=str | None, default=None, help="Checkpoint that finds entities."
    )
    parser.add_argument(
        "--re", type=str | None, default=None, help="Checkpoint that finds relations."
    )
    parser.add_argument(
        "--pictures",
        type=Path | None,
        default=None,
        help="Folder that pictures' paths count from, and may not leave.",
    )
    parser.add_argument(
        "--detector", type=str, default="none", help="Cuts crops: none, or see mmie ground --help."
    )
    parser.add_argument(
        "--num_crops",
        type=PositiveInt,
        default=3,
        help="Crops of a picture that the detector cuts.",
    )
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
        help="Threads that decode pictures; 0: all cores.",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="Begin anew, and replace what is there."
    )
    parser.add_argument(
        "--engine",
        type=Engine,
        default=get_args(Engine)[0],
        help="ray: a Ray Data job that writes Parquet files.",
    )
    parser.add_argument(
        "--actors", type=PositiveInt, default=1, help="Copies of the models, with --engine ray."
    )
    return parser
