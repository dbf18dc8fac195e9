"""ONNX Runtime as the engine of a predictor: graphs that are written once for each checkpoint.

The graphs of `mmie.export.onnx` compute emissions or logits and features of pictures. Tokenizing,
the CRF and probabilities stay with the predictor's method. Graphs lie in
``<folder>/<precision>-<digest>``, where the digest is that of the weights, the method and the
versions of the packages, so that a graph is never used with other weights.

With ``int8``, the weights of matrix products are rounded to 8 bits for each output channel and
their inputs are rounded as they come (dynamic quantisation). A convolutional backbone needs ranges
of its inputs in advance (static quantisation), which are measured on calibration pictures. Without
such pictures it stays in float32.

Source: Jacob et al., Quantization and Training of Neural Networks, CVPR 2018.
"""

import hashlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from mmie.blocks.features import FeatureSpec, backbone_feature_spec
from mmie.blocks.weights import digest_weights
from mmie.data.pictures import ImageTransform, PictureError
from mmie.export.onnx import MODEL, VISION, check_exportable, write_model, write_vision
from mmie.inference.predictor import Predictor
from mmie.methods import ExtractionModule
from mmie.methods.base import full_name
from mmie.methods.multimodal import MultimodalModule
from mmie.types import Batch, Prediction
from mmie.utils.files import atomic_folder, digest_values
from mmie.utils.optional import require
from mmie.utils.version import VERSION

OnnxPrecision = Literal["float32", "int8"]

MAX_CALIBRATION = 128
"""Most pictures that ranges are measured on."""
_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")
"""Packages that graphs are written with."""
_CALIBRATION_BATCH = 8
"""Pictures that pass the backbone together when ranges are measured."""


def read_calibration(folder: Path, transform: ImageTransform) -> Tensor:
    """Read the calibration pictures of a folder, the first ones by name.

    Returns:
        (pictures, 3, size, size) uint8, at most `MAX_CALIBRATION`. Files that are no pictures are
        left out.

    Raises:
        ValueError: The folder holds no picture that can be read.
        OSError: The folder cannot be read.
    """
    views: list[Tensor] = []
    for file in sorted(folder.iterdir()):
        if len(views) == MAX_CALIBRATION:
            break
        with suppress(PictureError):
            views.append(transform(file))
    if not views:
        raise ValueError(f"'{folder}' holds no picture that can be read")
    return torch.stack(views)


def use_onnx(
    predictor: Predictor,
    folder: Path,
    precision: OnnxPrecision = "float32",
    calibration: Tensor | None = None,
) -> Path:
    """Let a predictor compute with ONNX Runtime, and write the graphs if the folder lacks them.

    Args:
        predictor: The predictor on the CPU, which is changed.
        folder: Folder of graphs, which may hold those of several checkpoints.
        precision: ``int8`` quantises; see the module.
        calibration: Pictures (pictures, 3, size, size) uint8 for the backbone's ranges with
            ``int8``; None keeps the backbone in float32.

    Returns:
        The folder of the graphs.

    Raises:
        MissingPackageError: A package of the extra ``onnx`` is not installed.
        OnnxError: The method cannot be traced, or the float32 scores differ from PyTorch's.
        ValueError: The predictor computes on a GPU or in bfloat16.
    """
    for module in _PACKAGES[1:]:
        require(module, "onnx")
    if predictor.half or predictor.method.device.type != "cpu":
        raise ValueError(
            "ONNX Runtime computes on the CPU, in its own precision: leave precision at auto and "
            "set device to cpu"
        )
    graphs = _find_graphs(predictor.method, folder, precision, calibration)
    _attach(predictor, graphs, precision)
    return graphs


def _find_graphs(
    method: ExtractionModule,
    folder: Path,
    precision: OnnxPrecision,
    calibration: Tensor | None,
) -> Path:
    """Return the folder of a method's graphs, written if it does not exist.

    Quantised graphs are made of those in float32, which are written first.
    """
    identity: dict[str, Any] = {
        "mmie": VERSION,
        "packages": {name: version(name) for name in _PACKAGES},
        "method": full_name(type(method)),
        "settings": repr(sorted(method.init_args.items(), key=str)),
        "schema": repr(method.schema),
        "weights": digest_weights(method),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):  # another process may write the same graphs
        graphs = _named(folder, "float32", identity)
        if not graphs.is_dir():
            check_exportable(method)
            with atomic_folder(graphs) as temporary:
                inputs, _ = write_model(method, temporary / MODEL)
                if isinstance(method, MultimodalModule) and "features" in inputs:
                    write_vision(method.vision, temporary / VISION)
        if precision == "float32":
            return graphs
        if calibration is not None:
            identity["calibration"] = hashlib.sha256(calibration.numpy().data).hexdigest()
        quantized = _named(folder, precision, identity)
        if not quantized.is_dir():
            with atomic_folder(quantized) as temporary:
                _quantize(graphs, temporary, calibration)
        return quantized


def _named(folder: Path, precision: str, identity: Mapping[str, Any]) -> Path:
    """Return the folder of graphs with an identity."""
    return folder / f"{precision}-{digest_values(identity)[:16]}"


def _quantize(source: Path, target: Path, calibration: Tensor | None) -> None:
    """Quantise the graphs of a folder into another one."""
    _quantize_products(source / MODEL, target / MODEL)
    if not (source / VISION).exists():
        return
    if calibration is None:
        shutil.copy(source / VISION, target / VISION)
    else:
        _quantize_backbone(source / VISION, target / VISION, calibration)


def _quantize_products(source: Path, target: Path) -> None:
    """Quantise the matrix products of a graph dynamically."""
    quantization = require("onnxruntime.quantization", "onnx")
    with _quiet():
        quantization.quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )


def _quantize_backbone(source: Path, target: Path, pictures: Tensor) -> None:
    """Quantise the convolutions of a graph with ranges measured on pictures."""
    quantization = require("onnxruntime.quantization", "onnx")
    preprocess = require("onnxruntime.quantization.shape_inference", "onnx")
    prepared = target.with_suffix(".prepared")

    class Pictures(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        """Calibration pictures in batches."""

        def __init__(self) -> None:
            self.batches = iter(pictures.split(_CALIBRATION_BATCH))

        def get_next(self) -> dict[str, Any] | None:
            """Return the inputs of the next batch, None after the last one."""
            batch = next(self.batches, None)
            return None if batch is None else {"pixels": batch.numpy()}

    with _quiet():
        preprocess.quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            target,
            Pictures(),
            op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add", "Relu", "MaxPool"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    prepared.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence advice that the quantiser logs, such as that on preprocessing."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(previous)


def _attach(predictor: Predictor, graphs: Path, precision: OnnxPrecision) -> None:
    """Replace the computation of scores and features by that of graphs."""
    method = predictor.method
    model = _open(graphs / MODEL)
    names = [value.name for value in model.get_inputs()]
    schema = method.schema

    def predict_batch(batch: Batch) -> list[Prediction]:
        scores = _run(model, _model_inputs(batch, names, shapes))
        return method.predict_from_scores(scores, batch)

    shapes: dict[str, Sequence[int]] = {}
    if "pixels" in names:
        shapes["pixels"] = (schema.num_views, 3, schema.image_size, schema.image_size)
    if "features" in names:
        assert isinstance(method, MultimodalModule)
        shapes["features"] = (schema.num_views, method.vision.width)
    predictor.predict_batch = predict_batch
    predictor.reads_pixels = "pixels" in names
    predictor.specs = []
    if (graphs / VISION).exists() and isinstance(method, MultimodalModule):
        predictor.specs = [_vision_spec(method, _open(graphs / VISION), precision)]


def _vision_spec(method: MultimodalModule, session: Any, precision: str) -> FeatureSpec:
    """Specify features of views that a graph computes."""

    def compute(pixels: Tensor) -> Tensor:
        return _run(session, {"pixels": pixels.numpy()})

    spec = backbone_feature_spec(method.vision, "vision")
    identity = {**spec.identity, "engine": f"onnx {precision}"}
    return replace(spec, identity=identity, compute=compute)


def _model_inputs(
    batch: Batch, names: Sequence[str], shapes: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Collect a graph's inputs from a batch.

    Args:
        batch: The batch.
        names: Names of the inputs.
        shapes: Shapes for one post of the inputs that a batch without readable views lacks.
    """
    inputs = {}
    for name in names:
        value = batch.features.get("vision") if name == "features" else getattr(batch, name)
        if value is None:
            kind = np.uint8 if name == "pixels" else np.float32
            inputs[name] = np.zeros((len(batch), *shapes[name]), kind)
        else:
            inputs[name] = value.numpy()
    return inputs


def _open(path: Path) -> Any:
    """Open a session that computes with as many threads as PyTorch."""
    onnxruntime = require("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # threads that wait for work would keep other processes from their cores
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session: Any, inputs: Mapping[str, Any]) -> Tensor:
    """Run a session and return its output."""
    (result,) = session.run(None, dict(inputs))
    return torch.from_numpy(result)
