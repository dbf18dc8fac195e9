"""Tracing of a module to an ONNX program, and comparison of the program with PyTorch."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmie.export.onnx_lstm import lstm_translation
from mmie.types import MmieError
from mmie.utils.optional import require
from mmie.utils.text import first_line

TOLERANCE = 1e-4
"""Largest difference from PyTorch's scores, relative to the largest score."""
_MAX_REASON = 300
"""Largest number of characters of torch's message that an error repeats."""


class OnnxError(MmieError, RuntimeError):
    """A method that cannot be traced, or a graph that computes other numbers than PyTorch."""


def trace(
    graph: nn.Module, inputs: Mapping[str, Tensor], dynamic_shapes: tuple[Any, ...], name: str
) -> Any:
    """Trace a module to an ONNX program.

    Args:
        graph: The module.
        inputs: Example inputs by name, in the order of the module's arguments.
        dynamic_shapes: The axes of any length, as ``torch.export`` expects them.
        name: Name of the module in errors.

    Returns:
        A ``torch.onnx.ONNXProgram``.

    Raises:
        OnnxError: ``torch.export`` or the conversion to ONNX fails.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # transformers warns about bookkeeping that the graph does not contain.
            warnings.simplefilter("ignore")
            exported = torch.export.export(
                graph, tuple(inputs.values()), dynamic_shapes=dynamic_shapes, strict=True
            )
            program = torch.onnx.export(
                exported,
                (),
                dynamo=True,
                verbose=False,
                input_names=list(inputs),
                output_names=["scores"],
                custom_translation_table=lstm_translation(),
            )
    except Exception as error:  # torch raises many types, its own and Python's
        reason = first_line(error) if str(error).strip() else "no reason given"
        raise OnnxError(
            f"torch.export does not take {name}: {type(error).__name__}: {reason[:_MAX_REASON]}"
        ) from error
    assert program is not None, "torch returns a program where dynamo is true"
    strip_origins(program.model)
    return program


def strip_origins(model: Any) -> None:
    """Remove what the exporter notes about the source of each node, such as stack traces.

    These notes hold the paths of the source files on this machine.

    Args:
        model: A program's model, which is changed.
    """
    parts: list[Any] = [model]
    for graph in (model.graph, *model.functions.values()):
        parts += [graph, *graph.inputs, *graph.outputs]
        for node in graph.all_nodes():
            parts += [node, *node.outputs]
    parts += [*model.graph.initializers.values()]
    for part in parts:
        part.metadata_props.clear()
        part.doc_string = None


def drop_unread_inputs(inputs: list[Any]) -> None:
    """Remove the inputs of a graph of which only the batch size is read.

    The batch size is read of the first input instead.

    Args:
        inputs: Inputs of a program's graph, which are changed.
    """
    first = inputs[0]
    unread = []
    for value in inputs[1:]:
        if all(node.op_type == "Shape" for node, _ in value.uses()):
            unread.append(value)
    for value in unread:
        value.replace_all_uses_with(first)
        inputs.remove(value)


def compare(graph: nn.Module, path: Path, cases: Sequence[Mapping[str, Tensor]]) -> float:
    """Compute the largest difference between a module and its ONNX file.

    Args:
        graph: The module.
        path: The file.
        cases: Inputs by name, in the order of the module's arguments.

    Returns:
        The difference relative to the largest value of a case, at least to 1.

    Raises:
        OnnxError: The difference exceeds `TOLERANCE`.
    """
    onnxruntime = require("onnxruntime", "onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    difference = 0.0
    for case in cases:
        with torch.no_grad():
            expected = graph(*case.values())
        (scores,) = session.run(None, {name: case[name].numpy() for name in names})
        scale = max(1.0, expected.abs().max().item())
        error = (torch.from_numpy(scores) - expected).abs().max().item()
        difference = max(difference, error / scale)
    if not difference <= TOLERANCE:
        raise OnnxError(
            f"{path.name} differs from PyTorch by {difference:.1e}, more than {TOLERANCE:.0e}: "
            "it is not written"
        )
    return difference
