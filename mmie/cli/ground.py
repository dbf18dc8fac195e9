"""``mmie ground``: object crops for the pictures of a corpus or of one's own posts."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from rich.table import Table

from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.cli.source_options import add_source_options, source_options
from mmie.data import MNRE, Corpus
from mmie.data.corpora.base import FileCorpus
from mmie.data.pictures import MAX_PIXELS
from mmie.grounding.detectors import build_detector
from mmie.grounding.errors import GroundingError
from mmie.grounding.ground import Grounding, ground_posts
from mmie.grounding.index import IndexKey, from_pth, read_index, to_pth, write_index
from mmie.grounding.layouts import Layout, corpus_layout, posts_layout, read_posts
from mmie.grounding.phrases import PhraseKind, phrase_source
from mmie.inference.jobs.job_files import check_targets
from mmie.types import Post, Split
from mmie.utils.devices import resolve_device
from mmie.utils.locks import file_lock
from mmie.utils.signals import termination_interrupts
from mmie.utils.terminal import PlainConsole, print_lines

_MAX_UNREADABLE = 10
"""Most unreadable pictures that the summary names."""


def ground_command(arguments: Sequence[str]) -> None:
    """Run ``mmie ground`` or ``mmie ground convert``.

    Raises:
        UsageError: An option is wrong.
        GroundingError: A file cannot be read or written.
        DeviceError: The machine has no such device.
        WeightsUnavailable: The detector's weights cannot be loaded.
        CorpusError: A post is malformed.
        SourceError: The posts cannot be read.
        LockError: Another process writes the same crops.
    """
    if arguments[:1] == ["convert"]:
        _convert(arguments[1:])
        return
    parser = _ground_parser()
    settings = parser.parse_args(list(arguments))
    with usage_errors():
        settings = parser.instantiate(settings)
    layout = _layout(settings)
    with file_lock(layout.index), termination_interrupts():
        grounding = _ground(settings, layout)
    PlainConsole().print(render_grounding(grounding))
    for file in (layout.posts, layout.published, layout.index):
        if file is not None:
            print_lines(file)


def _ground(settings: Namespace, layout: Layout) -> Grounding:
    """Write the crops of the posts that the options name, their index and the posts.

    The posts are read under the lock of the index, so that an earlier writer has ended.
    """
    posts, source = _posts(settings)
    if not posts:
        raise GroundingError(f"{source}: expected posts, found none")
    layout.check(source, settings.overwrite)
    layout.remove_stale_partials()
    device = resolve_device(settings.device or "auto")
    detector = build_detector(settings.detector, device, settings.threshold)
    default_kind: PhraseKind = "entities" if isinstance(settings.corpus, MNRE) else "nouns"
    grounding = ground_posts(
        posts,
        layout.crops,
        detector,
        settings.num_crops,
        phrase_source(settings.phrases or default_kind),
        settings.batch_size,
        settings.max_pixels,
    )
    layout.write(grounding)
    return grounding


def render_grounding(grounding: Grounding) -> Table:
    """Summarise the result of grounding as a table."""
    num_crops = sum(len(entry.crops) for entry in grounding.entries)
    num_without = sum(not entry.crops for entry in grounding.entries)
    unreadable = [f"{file.name}: {reason}" for file, reason in grounding.unreadable.items()]
    lines = unreadable[:_MAX_UNREADABLE]
    if len(unreadable) > _MAX_UNREADABLE:
        lines.append(f"and {len(unreadable) - _MAX_UNREADABLE} more")
    table = Table("Grounding", "", show_header=False)
    table.add_row("posts", str(len(grounding.posts)))
    table.add_row("with a readable picture", str(len(grounding.entries)))
    table.add_row("of these without a crop", str(num_without))
    table.add_row("crops", f"{num_crops}, {grounding.written} files written now")
    table.add_row("detections", f"{grounding.detected} pictures now, {grounding.cached} earlier")
    table.add_row(f"unreadable pictures ({len(unreadable)})", "\n".join(lines))
    return table


def _layout(settings: Namespace) -> Layout:
    """Return the layout of the crops that the options name.

    Raises:
        UsageError: Neither a file nor a corpus is named, or both, or no folder for the crops.
        GroundingError: The corpus needs a folder for the crops.
    """
    if (settings.posts is None) == (settings.corpus is None):
        raise UsageError(
            "give either --posts FILE or --corpus CLASS, e.g. --corpus MNRE --corpus.root data/mnre"
        )
    if settings.corpus is not None:
        return corpus_layout(settings.corpus, settings.split, settings.out)
    if settings.out is None:
        raise UsageError(
            "out: given neither on the line nor by --config: expected a folder for the crops"
        )
    return posts_layout(settings.out, settings.posts.stem)


def _posts(settings: Namespace) -> tuple[list[Post], Path]:
    """Read the posts that the options name.

    Returns:
        The posts, and the file or folder that they are read from.

    Raises:
        CorpusError: A post is malformed.
        SourceError: The posts cannot be read.
    """
    if settings.corpus is not None:
        corpus, split = settings.corpus, settings.split
        is_file = isinstance(corpus, FileCorpus)
        return corpus.posts(split), corpus.text_file(split) if is_file else corpus.root
    return read_posts(settings.posts, source_options(settings)), settings.posts


def _convert(arguments: Sequence[str]) -> None:
    """Run ``mmie ground convert``.

    Raises:
        UsageError: An option is wrong.
        JobError: The target is the source, or exists and ``--overwrite`` is missing.
        CorpusError: The published index holds something else.
        GroundingError: A file cannot be read or written.
    """
    settings = _convert_parser().parse_args(list(arguments))
    check_targets(str(settings.source), [settings.target], settings.overwrite)
    suffixes = settings.source.suffix, settings.target.suffix
    if suffixes == (".pth", ".jsonl"):
        write_index(settings.target, from_pth(settings.source, settings.key))
    elif suffixes == (".jsonl", ".pth"):
        to_pth(read_index(settings.source), settings.target, settings.key)
    else:
        raise UsageError(
            f"expected a .pth and a .jsonl, got {settings.source.name} and {settings.target.name}"
        )
    print_lines(settings.target)


def _ground_parser() -> OneLineParser:
    """Build the parser of ``mmie ground``."""
    parser = OneLineParser(
        prog="mmie ground",
        description="Detect what posts mention in their pictures, cut it out, and write an index "
        "of the crops. mmie ground convert FROM TO turns a published index (.pth) into a .jsonl, "
        "or back.",
    )
    parser.add_argument(
        "--posts", type=Path | None, default=None, help="JSON lines, CSV, TSV, or a folder."
    )
    add_source_options(parser)
    parser.add_subclass_arguments(
        Corpus, "corpus", required=False, help="E.g. MNRE --corpus.root data/mnre"
    )
    parser.add_argument("--split", type=Split, default="train", help="Split of the corpus.")
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="Folder to write to; by default the folder of a published corpus.",
    )
    parser.add_argument(
        "--detector",
        type=str,
        required=True,
        help="center (no weights), coco, coco:FILE, a folder or hub name (Grounding DINO, OWLv2), "
        "or several: a+b.",
    )
    parser.add_argument(
        "--threshold",
        type=ClosedUnitInterval | None,
        default=None,
        help="Lowest score of a detection; by default the detector's own.",
    )
    parser.add_argument("--num_crops", type=PositiveInt, default=3, help="Most crops of a post.")
    parser.add_argument(
        "--phrases",
        type=PhraseKind | None,
        default=None,
        help="Phrases to look for: nouns, words or entities; by default entities for MNRE, else "
        "nouns.",
    )
    parser.add_argument(
        "--batch_size", type=PositiveInt, default=8, help="Pictures that are processed together."
    )
    parser.add_argument(
        "--device",
        type=str | None,
        default=None,
        help="auto, the default, is a GPU if there is one.",
    )
    parser.add_argument(
        "--max_pixels", type=PositiveInt, default=MAX_PIXELS, help="Larger pictures are left out."
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="Replace posts or an index of other origin."
    )
    return parser


def _convert_parser() -> OneLineParser:
    """Build the parser of ``mmie ground convert``."""
    parser = OneLineParser(
        prog="mmie ground convert", description="Convert an index of crops to its other form."
    )
    parser.add_argument("source", type=Path, help="An index: .pth, as published, or .jsonl.")
    parser.add_argument("target", type=Path, help="The file to write: .jsonl or .pth.")
    parser.add_argument(
        "--key",
        type=IndexKey,
        default="image",
        help="Key of the .pth: image (Twitter) or id (MNRE).",
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace an existing file.")
    return parser
