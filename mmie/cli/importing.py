"""``mmie import``: the weights of a public code as a checkpoint of this package."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning
import torch
from torch import Tensor

from mmie.checkpoints import CheckpointError, read_checkpoint_file
from mmie.checkpoints.public import EMBEDDINGS, PublicModel, PublicWeights, map_public_weights
from mmie.cli.lightning import build_parts
from mmie.cli.parsing import UsageError, check_path_length
from mmie.data import MultimodalDataModule
from mmie.inference.jobs.job_files import check_targets
from mmie.methods import ExtractionModule, HVPNet, RSRNeT
from mmie.utils.files import atomic_write
from mmie.utils.terminal import print_lines

METHODS: dict[PublicModel, type[ExtractionModule]] = {"hvpnet": HVPNet, "rsrnet": RSRNeT}
"""Methods whose public weights can be imported."""
_OVERRIDES = ("--model.init_args.variant=reference", "--model.init_args.pretrained=false")
_NOT_PUBLIC = ("vision.mean", "vision.std", "head.temperature", "metrics.", "losses.")
"""State that this package adds to the weights."""


def import_command(arguments: Sequence[str]) -> None:
    """Run ``mmie import``.

    Raises:
        UsageError: An option is wrong, or the configuration is of another method.
        JobError: The target is the source, or exists and ``--overwrite`` is missing.
        CheckpointError: The file does not hold the public weights of this method and task.
    """
    settings, others = _import_parser().parse_known_args(list(arguments))
    check_path_length("out", str(settings.out))
    check_path_length("checkpoint", str(settings.checkpoint))
    check_targets(str(settings.checkpoint), [settings.out], settings.overwrite)
    public = _read_state_dict(settings.checkpoint)
    parts = build_parts([*others, *_OVERRIDES])
    method, data = parts.model, parts.datamodule
    expected = METHODS[settings.model]
    if type(method) is not expected:
        raise UsageError(
            f"the configuration is of {type(method).__name__}: name one of {expected.__name__}"
        )
    weights = load_public_weights(method, data, public, settings.model)
    print_lines(*describe_import(weights))
    write_checkpoint(method, data, settings.out)
    count = f"{len(weights.names)} of {len(public)} tensors"
    print_lines(f"{settings.out}: {count} of {settings.checkpoint}")


def load_public_weights(
    method: ExtractionModule,
    data: MultimodalDataModule,
    public: Mapping[str, Tensor],
    model: PublicModel,
) -> PublicWeights:
    """Load public weights into a method.

    Args:
        method: HVPNet or RSRNeT in ``variant: reference``.
        data: Its data module, which knows the tags or relations and the markers.
        public: The public ``state_dict``.
        model: ``hvpnet`` or ``rsrnet``.

    Raises:
        CheckpointError: The weights are those of another method, task or encoder.
    """
    weights = map_public_weights(
        public,
        model,
        method.schema.task,
        method.task.outputs,
        method.state_dict()[EMBEDDINGS],
        data.tokenizer.marker_ids,
    )
    _check_shapes(weights.state_dict, method.state_dict())
    method.load_state_dict(weights.state_dict, strict=False)
    return weights


def _check_shapes(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise unless the weights are those of a method.

    Raises:
        CheckpointError: A tensor is missing, superfluous or of another shape.
    """
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    own_shapes = {name: tuple(value.shape) for name, value in own.items()}
    for name in sorted(shapes.keys() | own_shapes.keys()):
        if name not in shapes and name.startswith(_NOT_PUBLIC):
            continue
        found, expected = shapes.get(name, "missing"), own_shapes.get(name, "nothing")
        if found != expected:
            raise CheckpointError(
                f"the public weights do not fit the configuration: {name} is {found}, expected "
                f"{expected}"
            )


def write_checkpoint(method: ExtractionModule, data: MultimodalDataModule, path: Path) -> None:
    """Write a method's weights as a checkpoint file without the state of a training.

    Raises:
        OSError: The file cannot be written.
    """
    content = {
        "state_dict": method.state_dict(),
        type(data).__name__: data.state_dict(),
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": 0,
    }
    method.on_save_checkpoint(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, lambda file: torch.save(content, file))


def describe_import(weights: PublicWeights) -> list[str]:
    """Say what was taken over, in part or not at all, in one line each."""
    lines = [f"{public} -> {own}" for public, own in weights.names.items()]
    lines += [f"{public} left out: {reason}" for public, reason in weights.dropped.items()]
    return lines + weights.notes


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    """Load a bare ``state_dict`` on the CPU.

    Raises:
        CheckpointError: The file holds something else.
    """
    content = read_checkpoint_file(path)
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"'{path}' holds no state_dict")
    for name, value in content.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise CheckpointError(f"'{path}' holds more than the tensors of a public code: {name}")
    return content


def _import_parser() -> argparse.ArgumentParser:
    """Build the parser of the options that ``mmie fit`` does not have."""
    parser = argparse.ArgumentParser(
        prog="mmie import",
        description="Convert the weights that the public code of HVPNet or RSRNeT saved to a "
        "checkpoint, for mmie test, extract and export. The method is built with variant: "
        "reference, which computes what the public code does.",
        epilog="All other options are those of mmie fit: --config FILE, and settings that override "
        "it. The configuration names the corpus, the tokenizer and the encoders.",
        allow_abbrev=False,
    )
    parser.add_argument("model", choices=list(METHODS), help="the public code that saved them")
    parser.add_argument("checkpoint", type=Path, help="the state_dict that it saved")
    parser.add_argument("--out", "-o", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    return parser
