"""A checkpoint as ONNX graphs, which run without PyTorch and without this package.

==================  ================================================================================================
file                content
==================  ================================================================================================
``model.onnx``      from tokens and what is seen to emissions (batch, words, tags) or logits (batch, labels)
``vision.onnx``     from pictures (pictures, 3, size, size) uint8 RGB to features (pictures, width), if there is a
                    backbone: once per picture, and 0 for a view that there is not
``onnx.json``       inputs, labels or tags, the CRF's scores, sizes of text and pictures
``tokenizer.json``  the tokenizer
``README.md``       how to run them
==================  ================================================================================================

Batch, tokens and words may be of any number; the views are those of the schema. The CRF's Viterbi is a loop over
words and stays outside: the README has it in a few lines. A method with an LSTM (MLNet) is refused, since
``torch.export`` unrolls its loop to the one length that it is shown.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmie.blocks.heads import RelationHead, TagHead
from mmie.blocks.vision import VisualBackbone
from mmie.checkpoints import read_checkpoint
from mmie.export.model_card import CARD, load_template
from mmie.export.pretrained import new_folder
from mmie.methods import ExtractionModule
from mmie.methods.loading import build_method
from mmie.methods.multimodal import MultimodalModule
from mmie.tags import tag_names
from mmie.types import MARKERS, Batch, MmieError
from mmie.utils.optional import require

MODEL, VISION, SETTINGS = "model.onnx", "vision.onnx", "onnx.json"
TOLERANCE = 1e-4
"""Largest difference between PyTorch's scores and the graph's."""

_TRACED, _CHECKED = (3, 13, 7), ((1, 8, 5), (4, 30, 11))
"""Batch, tokens and words that the graph is traced with, and those that it is checked with."""


class OnnxError(MmieError, RuntimeError):
    """A method that does not become a graph, or a graph that computes something else."""


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """What was written.

    Attributes:
        folder: Where.
        inputs: Names of the inputs of ``model.onnx``.
        difference: Largest difference from PyTorch's scores, on batches of other sizes than the traced one.
    """

    folder: Path
    inputs: tuple[str, ...]
    difference: float


def export_onnx(checkpoint: str | Path, folder: str | Path) -> OnnxExport:
    """Write a checkpoint as ONNX to a new folder, whole or not at all, if the graphs compute what PyTorch computes.

    Args:
        checkpoint: File that `mmie fit` wrote, or folder that `mmie.export.pretrained.save_pretrained` wrote.
        folder: Where to write.

    Raises:
        CheckpointError: It is neither.
        OnnxError: ``torch.export`` does not take the method, or the scores differ.
        SharingError: The folder holds something already.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, "onnx")
    folder, content = Path(folder), read_checkpoint(checkpoint)
    data = content.data_state()
    method = build_method(content).requires_grad_(False)
    check_exportable(method)
    with new_folder(folder) as place:
        inputs, difference = _write_model(method, place / MODEL)
        if isinstance(method, MultimodalModule) and "features" in inputs:
            difference = max(difference, _write_vision(method.vision, place / VISION))
        settings = describe(method, inputs, data.transform.resize)
        (place / SETTINGS).write_text(
            json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        (place / "tokenizer.json").write_text(data.tokenizer["tokenizer.json"], encoding="utf-8")
        (place / CARD).write_text(_readme(settings, type(method).__name__), encoding="utf-8")
    return OnnxExport(folder, inputs, difference)


def check_exportable(method: ExtractionModule) -> None:
    """Refuse a method that would become a graph of one length of text.

    Raises:
        OnnxError: It is one.
    """
    loop = next((part for part in method.modules() if isinstance(part, nn.RNNBase)), None)
    if loop is not None:
        raise OnnxError(
            f"{type(method).__name__} has an {type(loop).__name__}, which torch.export unrolls to one length of text: "
            "export another method, or run this one with PyTorch"
        )


def describe(method: ExtractionModule, inputs: Sequence[str], resize: str) -> dict[str, Any]:
    """What one must know to run the graphs, in plain values."""
    schema = method.schema
    known: dict[str, Any] = {
        "task": schema.task,
        "labels": list(schema.labels),
        "inputs": list(inputs),
        "max_tokens": schema.max_tokens,
        "views": 1 + schema.num_objects,
        "image_size": schema.image_size,
        "resize": resize,
    }
    if isinstance(method, MultimodalModule) and "features" in inputs:
        known["feature_width"] = method.vision.width
    if isinstance(method.head, TagHead):
        scores = zip(("starts", "transitions", "ends"), method.head.crf.scores(), strict=True)
        tags = tag_names(schema.labels, schema.tag_scheme)
        return {**known, "tags": list(tags), **{name: values.tolist() for name, values in scores}}
    return {**known, "markers": list(MARKERS)}


def example(
    method: ExtractionModule, batch: int, tokens: int, words: int, seed: int = 0
) -> dict[str, Tensor]:
    """Random inputs of the graph by name: rows of several lengths, some views of which some are not there."""
    generator = torch.Generator().manual_seed(seed)
    schema = method.schema

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator)

    lengths = torch.linspace(tokens, tokens // 2, batch).long().unsqueeze(1)  # (batch, 1)
    real = torch.arange(tokens) < lengths  # (batch, tokens)
    seen = draw(2, batch, 1 + schema.num_objects) > 0  # (batch, views)
    spoken = draw(words, batch, tokens).sort(dim=1).values  # (batch, tokens)
    values = {
        "input_ids": draw(schema.vocab_size, batch, tokens) * real,
        "attention_mask": real,
        "token_type_ids": torch.zeros(batch, tokens, dtype=torch.long),
        "token_words": torch.where(real, spoken, -1),
        "view_mask": seen,
    }
    if isinstance(method.head, RelationHead):
        values["markers"] = draw(tokens // 2, batch, 2)
    else:
        values["word_starts"] = draw(tokens // 2, batch, words)
    if isinstance(method, MultimodalModule):
        features = torch.randn(*seen.shape, method.vision.width, generator=generator)
        values["features"] = features * seen.unsqueeze(-1)  # (batch, views, width)
    elif method.reads_pixels:
        values["pixels"] = draw(256, *seen.shape, 3, schema.image_size, schema.image_size).to(
            torch.uint8
        )
    return values


class _SymbolicBatch(Batch):
    """A batch that is as long as its tensors, which ``torch.export`` keeps open, and not as its tuple of ids."""

    def __len__(self) -> int:
        return self.input_ids.shape[0]


class _ModelGraph(nn.Module):
    """A method from named tensors to its head's scores."""

    def __init__(self, method: ExtractionModule, names: Sequence[str]) -> None:
        super().__init__()
        self.method = method
        self.names = tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Emissions (batch, words, tags), or logits (batch, labels)."""
        batch = _to_batch(dict(zip(self.names, tensors, strict=True)))
        states, head = self.method.encode(batch).states, self.method.head
        if isinstance(head, TagHead):
            return head.emissions(states, batch)
        assert isinstance(head, RelationHead)
        return head.logits(states, batch)


class _VisionGraph(nn.Module):
    """A backbone from pictures to one row of features each."""

    def __init__(self, backbone: VisualBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixels: Tensor) -> Tensor:
        """(pictures, 3, size, size) uint8 -> (pictures, width)."""
        return self.backbone.flatten(self.backbone(pixels))


def _to_batch(values: Mapping[str, Tensor]) -> Batch:
    """The batch of the graph's inputs; what no encoder reads holds the ids in its place."""
    ids = values["input_ids"]
    return _SymbolicBatch(
        ids=(),
        counted=ids,
        index=ids,
        input_ids=ids,
        attention_mask=values["attention_mask"],
        token_type_ids=values["token_type_ids"],
        token_words=values["token_words"],
        word_starts=values.get("word_starts", ids),
        word_mask=ids,
        characters=ids,
        view_mask=values["view_mask"],
        pixels=values.get("pixels"),
        markers=values.get("markers"),
        features={"vision": values["features"]} if "features" in values else {},
    )


def _write_model(method: ExtractionModule, path: Path) -> tuple[tuple[str, ...], float]:
    """Write the method's graph; its inputs, and its largest difference from PyTorch."""
    traced = example(method, *_TRACED)
    graph = _ModelGraph(method, list(traced)).eval()
    axes = _axes(method.schema.max_tokens)
    program = _trace(graph, traced, {name: axes[name] for name in traced}, type(method).__name__)
    _drop_unread(program.model.graph.inputs)
    program.save(path)
    cases = [example(method, *sizes, seed=seed) for seed, sizes in enumerate((_TRACED, *_CHECKED))]
    return tuple(str(value.name) for value in program.model.graph.inputs), _compare(
        graph, path, cases
    )


def _drop_unread(inputs: list[Any]) -> None:
    """Remove the inputs of which nothing but the batch's size is read, which the ids tell as well."""
    ids = inputs[0]
    for value in [
        value for value in inputs[1:] if all(node.op_type == "Shape" for node, _ in value.uses())
    ]:
        value.replace_all_uses_with(ids)
        inputs.remove(value)


def _write_vision(backbone: VisualBackbone, path: Path) -> float:
    """Write the backbone's graph; its largest difference from PyTorch."""
    generator = torch.Generator().manual_seed(0)
    size = (3, backbone.image_size, backbone.image_size)
    cases = [
        {"pixels": torch.randint(256, (n, *size), generator=generator).to(torch.uint8)}
        for n in (2, 1, 5)
    ]
    graph = _VisionGraph(backbone).eval()
    _trace(graph, cases[0], {"pixels": {0: torch.export.Dim("pictures")}}, backbone.name).save(path)
    return _compare(graph, path, cases)


def _axes(max_tokens: int) -> dict[str, dict[int, Any]]:
    """The axes of each input that may have any length."""
    batch, words = torch.export.Dim("batch"), torch.export.Dim("words")
    text = {0: batch, 1: torch.export.Dim("tokens", max=max_tokens)}
    tokens = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids", "token_words"), text)
    return {
        **tokens,
        "word_starts": {0: batch, 1: words},
        **{name: {0: batch} for name in ("markers", "view_mask", "features", "pixels")},
    }


def _trace(
    graph: nn.Module, inputs: Mapping[str, Tensor], axes: Mapping[str, Any], name: str
) -> Any:
    """The graph as an ONNX program.

    Raises:
        OnnxError: ``torch.export`` or the conversion to ONNX does not take it.
    """
    values, open_axes = tuple(inputs.values()), tuple(axes.values())
    shapes = (
        (open_axes,) if isinstance(graph, _ModelGraph) else open_axes
    )  # its arguments are one tuple
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter(
                "ignore"
            )  # transformers' own bookkeeping, which the graph leaves out
            exported = torch.export.export(graph, values, dynamic_shapes=shapes, strict=True)
            return torch.onnx.export(
                exported,
                (),
                dynamo=True,
                verbose=False,
                input_names=list(inputs),
                output_names=["scores"],
            )
    except Exception as error:  # torch raises many kinds, its own and Python's
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise OnnxError(
            f"torch.export does not take {name}: {type(error).__name__}: {reason[:300]}"
        ) from error


def _compare(graph: nn.Module, path: Path, cases: Sequence[Mapping[str, Tensor]]) -> float:
    """The largest difference between PyTorch's result and that of a file.

    Raises:
        OnnxError: It is above `TOLERANCE` of the largest value.
    """
    session = require("onnxruntime", "onnx").InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    read = {value.name for value in session.get_inputs()}
    worst = 0.0
    for case in cases:
        with torch.no_grad():
            expected = graph(*case.values())
        (found,) = session.run(
            None, {name: value.numpy() for name, value in case.items() if name in read}
        )
        scale = max(1.0, expected.abs().max().item())
        worst = max(worst, (torch.from_numpy(found) - expected).abs().max().item() / scale)
    if not worst <= TOLERANCE:
        raise OnnxError(
            f"{path.name} differs from PyTorch by {worst:.1e}, more than {TOLERANCE:.0e}: it is not written"
        )
    return worst


def _readme(settings: Mapping[str, Any], name: str) -> str:
    """How to run the graphs."""
    files = {"model_file": MODEL, "vision_file": VISION, "settings_file": SETTINGS}
    return load_template("onnx.md").render(
        settings=settings, name=name, tolerance=TOLERANCE, **files
    )
