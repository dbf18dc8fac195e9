"""``mmie export``: a checkpoint as a folder for others, as ONNX, or on the hub."""

from collections.abc import Sequence
from pathlib import Path

from mmie.cli.checkpoint_options import add_checkpoint_options, chosen_checkpoint
from mmie.cli.parsing import OneLineParser, usage_errors
from mmie.cli.plugins import IMPORT_HELP
from mmie.export.onnx import export_onnx
from mmie.export.pretrained import push_to_hub, save_pretrained
from mmie.utils.terminal import print_lines


def export_command(arguments: Sequence[str]) -> None:
    """Run ``mmie export``.

    Raises:
        UsageError: An option is wrong.
        MmieError: The checkpoint cannot be used, the folder cannot be written, or the hub cannot be
            reached.
    """
    settings = _export_parser().parse_args(list(arguments))
    checkpoint = chosen_checkpoint(settings)
    with usage_errors():
        print_lines(save_pretrained(checkpoint, settings.out))
        if settings.onnx:
            export = export_onnx(checkpoint, settings.out / "onnx")
            print_lines(
                f"{export.folder}: scores differ from PyTorch's by at most "
                f"{export.difference:.1e} of the largest score"
            )
        if settings.push is not None:
            print_lines(push_to_hub(settings.out, settings.push, settings.private))


def _export_parser() -> OneLineParser:
    """Build the parser of ``mmie export``."""
    parser = OneLineParser(
        prog="mmie export",
        description="Write a checkpoint as a folder for others: safetensors, JSON and a model "
        "card.",
        epilog=IMPORT_HELP,
    )
    add_checkpoint_options(parser)
    parser.add_argument(
        "--out", "-o", type=Path, required=True, help="Folder to write, new or empty."
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="Write ONNX graphs as well, and compare them with PyTorch.",
    )
    parser.add_argument(
        "--push", type=str | None, default=None, help="Send the folder to owner/name on the hub."
    )
    parser.add_argument("--private", action="store_true", help="Make a new repository private.")
    return parser
