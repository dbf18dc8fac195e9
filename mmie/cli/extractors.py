"""Extractors that commands build from their options."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import ClosedUnitInterval

from mmie.cli.parsing import OneLineParser
from mmie.data.long_posts import LongPosts
from mmie.grounding.cropper import Cropper
from mmie.grounding.detectors import build_detector
from mmie.inference import Extractor, load_extractor
from mmie.inference.predictor import Precision
from mmie.inference.relation_types import ANY
from mmie.inference.result_options import ResultOptions
from mmie.utils.devices import resolve_device
from mmie.utils.processes import limit_threads


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


def build_extractor(options: ExtractorSettings) -> Extractor:
    """Load the checkpoints and build the detector.

    Raises:
        CheckpointError: No checkpoint is named, or a file is no checkpoint of its task.
        DeviceError: The machine has no such device.
        GroundingError: The detector is not known.
        WeightsUnavailable: The detector's weights cannot be loaded.
        RelationTypesError: The types of relations cannot be used.
    """
    device = resolve_device(options.device)
    extractor = load_extractor(
        options.ner,
        options.re,
        device=str(device),
        precision=options.precision,
        batch_size=options.batch_size,
        window=options.window,
        workers=options.workers,
        **asdict(options.results),
    )
    predictors = [predictor for predictor in (extractor.ner, extractor.re) if predictor is not None]
    limit_threads(*(predictor.method for predictor in predictors))
    num_crops = options.num_crops
    if num_crops is None:
        num_crops = max((form.num_crops for form in extractor.formats), default=0)
    if options.detector != "none" and num_crops > 0:
        extractor.cropper = Cropper(build_detector(options.detector, device), num_crops)
    return extractor


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
