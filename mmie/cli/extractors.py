"""Extractors that commands build from their options."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import ClosedUnitInterval

from mmie.cli.parsing import OneLineParser, UsageError
from mmie.data.long_posts import LongPosts
from mmie.export.onnx_engine import OnnxPrecision, read_calibration, use_onnx
from mmie.grounding.cropper import Cropper
from mmie.grounding.detectors import build_detector
from mmie.inference import Extractor, load_extractor
from mmie.inference.predictor import Precision, Predictor
from mmie.inference.relation_types import ANY
from mmie.inference.result_options import ResultOptions
from mmie.runs.folder import find_checkpoint
from mmie.utils.devices import resolve_device
from mmie.utils.processes import limit_threads


@dataclass(frozen=True, slots=True)
class OnnxSettings:
    """Options of the engine ONNX Runtime.

    Attributes:
        precision: ``int8`` quantises matrix products.
        calibration: Folder of pictures for the ranges of a backbone with ``int8``; None keeps it in
            float32.
        graphs: Folder of graphs; None is ``<checkpoint>.onnx`` beside each checkpoint.
    """

    precision: OnnxPrecision = "float32"
    calibration: Path | None = None
    graphs: Path | None = None


@dataclass(frozen=True, slots=True)
class ExtractorSettings:
    """Options that an extractor is built from.

    Attributes:
        ner: Run folder or checkpoint that finds entities.
        re: Run folder or checkpoint that finds relations.
        device: Device to compute on; ``auto`` is a GPU if there is one.
        detector: Detector that cuts crops, see `build_detector`; ``none`` cuts no crops.
        num_crops: Crops of a picture; None is as many as the methods read, and no detector if the
            methods read none.
        precision: Precision of the methods; ``auto`` is bfloat16 on a GPU.
        batch_size: Posts that are computed together.
        window: Posts that are sorted by length together.
        workers: Threads that decode pictures; None is one per core, 8 at most.
        results: Long posts, least probabilities, and types of relations.
        onnx: Options of ONNX Runtime, None to compute with PyTorch.
        fast_jpeg: Whether JPEG pictures are reduced while they are decoded.
    """

    ner: str | Path | None = None
    re: str | Path | None = None
    device: str = "auto"
    detector: str = "none"
    num_crops: int | None = None
    precision: Precision = "auto"
    batch_size: int = 32
    window: int = 256
    workers: int | None = None
    results: ResultOptions = field(default_factory=ResultOptions)
    onnx: OnnxSettings | None = None
    fast_jpeg: bool = False


def build_extractor(options: ExtractorSettings) -> Extractor:
    """Load the checkpoints and build the detector.

    Raises:
        CheckpointError: No checkpoint is named, or a file is no checkpoint of its task.
        DeviceError: The machine has no such device.
        GroundingError: The detector is not known.
        WeightsUnavailable: The detector's weights cannot be loaded.
        RelationTypesError: The types of relations cannot be used.
        OnnxError: A method cannot be traced.
        ValueError: ONNX Runtime does not compute on the device or in the precision, or no
            calibration picture can be read.
        OSError: The folder of graphs cannot be written, or that of pictures cannot be read.
    """
    on_cpu = options.onnx is not None and options.device == "auto"
    device = resolve_device("cpu" if on_cpu else options.device)
    extractor = load_extractor(
        options.ner,
        options.re,
        device=str(device),
        precision=options.precision,
        batch_size=options.batch_size,
        window=options.window,
        workers=options.workers,
        fast_jpeg=options.fast_jpeg,
        **asdict(options.results),
    )
    predictors = [predictor for predictor in (extractor.ner, extractor.re) if predictor is not None]
    limit_threads(*(predictor.method for predictor in predictors))
    if options.onnx is not None:
        for predictor, checkpoint in ((extractor.ner, options.ner), (extractor.re, options.re)):
            if predictor is not None:
                assert checkpoint is not None
                _use_onnx(predictor, checkpoint, options.onnx)
    num_crops = options.num_crops
    if num_crops is None:
        num_crops = max((form.num_crops for form in extractor.formats), default=0)
    if options.detector != "none" and num_crops > 0:
        extractor.cropper = Cropper(build_detector(options.detector, device), num_crops)
    return extractor


def _use_onnx(predictor: Predictor, checkpoint: str | Path, settings: OnnxSettings) -> None:
    """Let a predictor compute with ONNX Runtime.

    Raises:
        OnnxError: The method cannot be traced.
        ValueError: See `build_extractor`.
        OSError: See `build_extractor`.
    """
    path = Path(find_checkpoint(checkpoint))
    graphs = settings.graphs or path.with_name(f"{path.name}.onnx")
    calibration = None
    if settings.calibration is not None and predictor.format.num_views:
        calibration = read_calibration(settings.calibration, predictor.format.transform)
    use_onnx(predictor, graphs, settings.precision, calibration)


def add_onnx_arguments(parser: OneLineParser) -> None:
    """Add the options of ONNX Runtime."""
    parser.add_argument(
        "--onnx_precision",
        type=OnnxPrecision,
        default="float32",
        help="Precision with --engine onnx; int8 rounds the weights and inputs of matrix products.",
    )
    parser.add_argument(
        "--onnx_calibration",
        type=Path | None,
        default=None,
        metavar="FOLDER",
        help="Folder of pictures that the ranges of the visual backbone are measured on, of which "
        "the first 128 are read. Without it, int8 leaves the backbone in float32.",
    )
    parser.add_argument(
        "--onnx_graphs",
        type=Path | None,
        default=None,
        metavar="FOLDER",
        help="Folder of the graphs that are written on first use; by default <checkpoint>.onnx "
        "beside the checkpoint.",
    )


def onnx_settings(settings: Namespace) -> OnnxSettings | None:
    """Return the options that `add_onnx_arguments` added, None for another engine.

    Raises:
        UsageError: An option of ONNX Runtime is given with another engine.
    """
    options = OnnxSettings(settings.onnx_precision, settings.onnx_calibration, settings.onnx_graphs)
    if settings.engine == "onnx":
        return options
    if options != OnnxSettings():
        raise UsageError("options that begin with --onnx go with --engine onnx")
    return None


def add_result_arguments(parser: OneLineParser) -> None:
    """Add the options that decide what is returned of what the methods find."""
    parser.add_argument(
        "--long",
        type=LongPosts,
        default="windows",
        help="Texts that are longer than a method reads: windows reads all of it in overlapping "
        "windows, truncate reads the beginning, error refuses the post.",
    )
    parser.add_argument(
        "--min_probability",
        type=ClosedUnitInterval,
        default=0.0,
        help="Least probability of entities and relations.",
    )
    parser.add_argument(
        "--min_relation_probability",
        type=ClosedUnitInterval | None,
        default=None,
        help="Least probability of relations, if it is another one.",
    )
    parser.add_argument(
        "--relation_types",
        type=str,
        default=ANY,
        help="Types of head and tail that limit relations: any (no limit), labels (those that "
        "labels such as /per/loc/home name), training (those of the training data), or a JSON "
        'file: {"home": [["PER", "LOC"]]}.',
    )


def result_options(settings: Namespace) -> ResultOptions:
    """Return the options that `add_result_arguments` added."""
    return ResultOptions(
        settings.long,
        settings.min_probability,
        settings.min_relation_probability,
        settings.relation_types,
    )
