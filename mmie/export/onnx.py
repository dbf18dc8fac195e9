"""Export of a checkpoint as ONNX graphs, which run without PyTorch and without this package.

==================  ==============================================================================
file                content
==================  ==============================================================================
``model.onnx``      from tokens and visual features to emissions (batch, words, tags) or logits
                    (batch, labels)
``vision.onnx``     from pictures (pictures, 3, size, size) uint8 RGB to features (pictures, width),
                    if there is a backbone; the features of a missing view are 0
``onnx.json``       inputs, labels or tags, the CRF's scores, sizes of text and pictures
``tokenizer.json``  the tokenizer
``README.md``       how to run the graphs
==================  ==============================================================================

The numbers of posts, tokens and words are free, the number of views is the schema's. The CRF's
Viterbi algorithm is a loop over words and stays outside the graphs: the README has it in a few
lines.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmie.blocks.heads import TagHead
from mmie.blocks.vision import VisualBackbone
from mmie.checkpoints import read_checkpoint
from mmie.checkpoints.folder import CARD
from mmie.export.model_card import load_template
from mmie.export.onnx_graphs import (
    ModelGraph,
    VisionGraph,
    model_axes,
    model_inputs,
    reads_characters,
    vision_inputs,
)
from mmie.export.onnx_lstm import is_plain_lstm, replace_lstms
from mmie.export.onnx_program import TOLERANCE, OnnxError, compare, drop_unread_inputs, trace
from mmie.export.pretrained import new_folder
from mmie.methods import ExtractionModule
from mmie.methods.loading import build_method
from mmie.methods.multimodal import MultimodalModule
from mmie.tags import tag_names
from mmie.types import MARKERS
from mmie.utils.optional import require

MODEL, VISION, SETTINGS = "model.onnx", "vision.onnx", "onnx.json"
_TRACED = (3, 13, 7)
"""Batch, tokens and words of the example that is traced."""
_CHECKED = ((1, 8, 5), (4, 30, 11))
"""Batch, tokens and words of further examples that the graph is compared on."""
_PICTURES = (2, 1, 5)
"""Pictures of the example that is traced, and of those that the graph is compared on."""


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """Result of an export.

    Attributes:
        folder: The folder.
        inputs: Names of the inputs of ``model.onnx``.
        difference: Largest difference from PyTorch's scores, on batches of several sizes.
    """

    folder: Path
    inputs: tuple[str, ...]
    difference: float


def export_onnx(checkpoint: str | Path, folder: str | Path) -> OnnxExport:
    """Write a checkpoint as ONNX to a new folder, atomically, and compare the graphs with PyTorch.

    Args:
        checkpoint: File that `mmie fit` wrote, or folder that
            `mmie.export.pretrained.save_pretrained` wrote.
        folder: Where to write.

    Raises:
        CheckpointError: ``checkpoint`` is neither.
        OnnxError: The method cannot be traced or reads characters, the scores differ, or the
            tokenizer is slow.
        SharingError: The folder is not empty.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, "onnx")
    folder, content = Path(folder), read_checkpoint(checkpoint)
    data = content.data_state()
    if "tokenizer.json" not in data.tokenizer:
        raise OnnxError(
            f"'{checkpoint}' has a slow tokenizer, and the graph is read with a tokenizer.json: "
            "run it with PyTorch"
        )
    method = build_method(content).requires_grad_(False)
    check_exportable(method)
    if reads_characters(method):
        raise OnnxError(
            f"{type(method).__name__} reads the characters of words, which the code in the "
            "folder's README does not encode: run it with mmie extract --engine onnx"
        )
    with new_folder(folder) as temporary:
        inputs, difference = write_model(method, temporary / MODEL)
        if isinstance(method, MultimodalModule) and "features" in inputs:
            difference = max(difference, write_vision(method.vision, temporary / VISION))
        settings = describe(method, inputs, data.transform.resize)
        texts = {
            SETTINGS: json.dumps(settings, indent=2, ensure_ascii=False) + "\n",
            "tokenizer.json": data.tokenizer["tokenizer.json"],
            CARD: _readme(settings, type(method).__name__),
        }
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
    return OnnxExport(folder, inputs, difference)


def check_exportable(method: ExtractionModule) -> None:
    """Raise if the graph of a method would be that of one length of text.

    Raises:
        OnnxError: The method has a recurrent layer other than an LSTM of one layer and direction.
    """
    for part in method.modules():
        if isinstance(part, nn.RNNBase) and not is_plain_lstm(part):
            raise OnnxError(
                f"{type(method).__name__} has a layer {type(part).__name__}, which "
                "torch.export unrolls to one length of text: export another method, or run this "
                "one with PyTorch"
            )


def describe(method: ExtractionModule, inputs: Sequence[str], resize: str) -> dict[str, Any]:
    """Return the settings that one needs to run the graphs, in plain values.

    Args:
        method: The method.
        inputs: Names of the inputs of ``model.onnx``.
        resize: How pictures become square, see `mmie.data.pictures.ImageTransform`.
    """
    schema = method.schema
    settings: dict[str, Any] = {
        "task": schema.task,
        "labels": list(schema.labels),
        "inputs": list(inputs),
        "max_tokens": schema.max_tokens,
        "views": schema.num_views,
        "images": schema.num_images,
        "image_size": schema.image_size,
        "resize": resize,
    }
    if isinstance(method, MultimodalModule) and "features" in inputs:
        settings["feature_width"] = method.vision.width
    if isinstance(method.head, TagHead):
        starts, transitions, ends = method.head.crf.scores()
        settings["tags"] = list(tag_names(schema.labels, schema.tag_scheme))
        settings["starts"] = starts.tolist()  # (tags,)
        settings["transitions"] = transitions.tolist()  # (tags, tags)
        settings["ends"] = ends.tolist()  # (tags,)
    else:
        settings["markers"] = list(MARKERS)
    return settings


def write_model(method: ExtractionModule, path: Path) -> tuple[tuple[str, ...], float]:
    """Write the method's graph.

    Returns:
        The names of the graph's inputs, and its largest difference from PyTorch.
    """
    example = model_inputs(method, *_TRACED)
    graph = ModelGraph(method, list(example)).eval()
    axes = model_axes(method.schema.max_tokens)
    # The arguments of the graph are one tuple.
    dynamic_shapes = (tuple(axes[name] for name in example),)
    traced = graph
    if any(isinstance(part, nn.LSTM) for part in method.modules()):
        traced = copy.deepcopy(graph)
        replace_lstms(traced)
    program = trace(traced, example, dynamic_shapes, type(method).__name__)
    drop_unread_inputs(program.model.graph.inputs)
    program.save(path)
    cases = [example]
    for seed, sizes in enumerate(_CHECKED, start=1):
        cases.append(model_inputs(method, *sizes, seed=seed))
    names = tuple(str(value.name) for value in program.model.graph.inputs)
    return names, compare(graph, path, cases)


def write_vision(backbone: VisualBackbone, path: Path) -> float:
    """Write the backbone's graph and return its largest difference from PyTorch."""
    cases = vision_inputs(backbone, _PICTURES)
    graph = VisionGraph(backbone).eval()
    dynamic_shapes = ({0: torch.export.Dim("pictures")},)
    trace(graph, cases[0], dynamic_shapes, backbone.name).save(path)
    return compare(graph, path, cases)


def _readme(settings: Mapping[str, Any], name: str) -> str:
    """Return the instructions for running the graphs."""
    return load_template("onnx.md").render(
        settings=settings,
        name=name,
        tolerance=TOLERANCE,
        model_file=MODEL,
        vision_file=VISION,
        settings_file=SETTINGS,
    )
