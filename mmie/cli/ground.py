"""``mmie ground``: crops for the pictures of a corpus or of one's own posts, and indices from one form to the other."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jsonargparse import Namespace
from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from rich.console import Console
from rich.table import Table

from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.data import MNRE, Corpus
from mmie.data.pictures import MAX_PIXELS
from mmie.grounding.detectors import build_detector
from mmie.grounding.ground import Grounding, ground_posts
from mmie.grounding.index import IndexKey, from_pth, read_index, to_pth, write_index
from mmie.grounding.layouts import Layout, corpus_layout, posts_layout, read_posts
from mmie.grounding.phrases import PhraseKind, phrase_source
from mmie.types import Post, Split

_SHOWN = 10
"""Unreadable pictures that are named."""


def ground_command(arguments: Sequence[str]) -> None:
    """``mmie ground`` and ``mmie ground convert``.

    Raises:
        UsageError: An option is wrong.
        GroundingError: Something cannot be read or written.
        WeightsUnavailable: The detector's weights cannot be had.
        CorpusError: A post is malformed.
        SourceError: The posts cannot be read.
    """
    if arguments[:1] == ["convert"]:
        _convert(arguments[1:])
        return
    parser = _ground_parser()
    settings = parser.parse_args(list(arguments))
    with usage_errors():
        chosen = parser.instantiate(settings)
    posts, layout, source = _plan(chosen)
    layout.check(source, chosen.overwrite)
    device = chosen.device or ("cuda" if torch.cuda.is_available() else "cpu")
    detector = build_detector(chosen.detector, device, chosen.threshold)
    phrases = phrase_source(
        chosen.phrases or ("entities" if isinstance(chosen.corpus, MNRE) else "nouns")
    )
    result = ground_posts(
        posts,
        layout.crops,
        detector,
        chosen.num_crops,
        phrases,
        chosen.batch_size,
        chosen.max_pixels,
    )
    layout.write(result)
    Console().print(render_grounding(result))
    for file in (layout.posts, layout.published, layout.index):
        if file is not None:
            print(file)


def render_grounding(result: Grounding) -> Table:
    """What came of grounding, as a table."""
    table = Table("Grounding", "", show_header=False)
    crops = sum(len(entry.crops) for entry in result.entries)
    without = sum(not entry.crops for entry in result.entries)
    table.add_row("posts", str(len(result.posts)))
    table.add_row("with a readable picture", str(len(result.entries)))
    table.add_row("of these without a crop", str(without))
    table.add_row("crops", f"{crops}, {result.written} files written now")
    table.add_row("looked at", f"{result.detected} now, {result.remembered} earlier")
    names = [f"{file.name}: {reason}" for file, reason in list(result.unreadable.items())[:_SHOWN]]
    more = (
        [f"and {len(result.unreadable) - _SHOWN} more"] if len(result.unreadable) > _SHOWN else []
    )
    table.add_row(f"unreadable pictures ({len(result.unreadable)})", "\n".join([*names, *more]))
    return table


def _plan(chosen: Namespace) -> tuple[list[Post], Layout, Path]:
    """The posts, where their crops go, and the file that the posts are read from."""
    if (chosen.posts is None) == (chosen.corpus is None):
        raise UsageError(
            "give either --posts FILE or --corpus CLASS, e.g. --corpus MNRE --corpus.root data/mnre"
        )
    if chosen.posts is not None:
        if chosen.out is None:
            raise UsageError(
                "out: given neither on the line nor by --config: expected a folder for the crops"
            )
        return read_posts(chosen.posts), posts_layout(chosen.out, chosen.posts.stem), chosen.posts
    layout = corpus_layout(chosen.corpus, chosen.split, chosen.out)
    return chosen.corpus.posts(chosen.split), layout, chosen.corpus.text_file(chosen.split)


def _ground_parser() -> OneLineParser:
    """What ``mmie ground`` understands."""
    parser = OneLineParser(
        prog="mmie ground",
        description="Find what posts speak of in their pictures, cut it out, and write the index. "
        "mmie ground convert FROM TO turns a published index (.pth) into a .jsonl, or back.",
    )
    parser.add_argument(
        "--posts", type=Path | None, default=None, help="JSON lines, CSV, TSV, or a folder."
    )
    parser.add_subclass_arguments(
        Corpus, "corpus", required=False, help="E.g. MNRE --corpus.root data/mnre"
    )
    parser.add_argument("--split", type=Split, default="train", help="Split of the corpus.")
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="Folder to write to; a published corpus's own.",
    )
    parser.add_argument(
        "--detector",
        type=str,
        required=True,
        help="center (no weights), coco, coco:FILE, a folder or hub name (Grounding DINO, OWLv2), or several: a+b.",
    )
    parser.add_argument(
        "--threshold",
        type=ClosedUnitInterval | None,
        default=None,
        help="Least score; by default the detector's own.",
    )
    parser.add_argument("--num_crops", type=PositiveInt, default=3, help="Most crops of a post.")
    parser.add_argument(
        "--phrases",
        type=PhraseKind | None,
        default=None,
        help="What to look for; entities for MNRE, else nouns.",
    )
    parser.add_argument(
        "--batch_size", type=PositiveInt, default=8, help="Pictures that are looked at together."
    )
    parser.add_argument(
        "--device", type=str | None, default=None, help="By default a GPU, if there is one."
    )
    parser.add_argument(
        "--max_pixels", type=PositiveInt, default=MAX_PIXELS, help="Larger pictures are left out."
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="Replace posts or an index of other origin."
    )
    return parser


def _convert(arguments: Sequence[str]) -> None:
    """``mmie ground convert``."""
    parser = OneLineParser(
        prog="mmie ground convert", description="Turn an index of crops into its other form."
    )
    parser.add_argument("source", type=Path, help="An index: .pth, as published, or .jsonl.")
    parser.add_argument("target", type=Path, help="The file to write: .jsonl or .pth.")
    parser.add_argument(
        "--key",
        type=IndexKey,
        default="image",
        help="What a .pth is keyed by: image (Twitter) or id (MNRE).",
    )
    settings = parser.parse_args(list(arguments))
    suffixes = settings.source.suffix, settings.target.suffix
    if suffixes == (".pth", ".jsonl"):
        write_index(settings.target, from_pth(settings.source, settings.key))
    elif suffixes == (".jsonl", ".pth"):
        to_pth(read_index(settings.source), settings.target, settings.key)
    else:
        raise UsageError(
            f"expected a .pth and a .jsonl, got {settings.source.name} and {settings.target.name}"
        )
    print(settings.target)
