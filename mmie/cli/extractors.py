"""Extractors that commands build from their options."""

from dataclasses import dataclass
from pathlib import Path

from mmie.grounding.cropper import Cropper
from mmie.grounding.detectors import build_detector
from mmie.inference import Extractor, load_extractor
from mmie.inference.predictor import Precision
from mmie.utils.devices import resolve_device


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


def build_extractor(options: ExtractorSettings) -> Extractor:
    """Load the checkpoints and build the detector.

    Raises:
        CheckpointError: No checkpoint is named, or a file is no checkpoint of its task.
        DeviceError: The machine has no such device.
        GroundingError: The detector is not known.
        WeightsUnavailable: The detector's weights cannot be loaded.
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
    )
    num_crops = options.num_crops
    if num_crops is None:
        num_crops = max((form.num_crops for form in extractor.formats), default=0)
    if options.detector != "none" and num_crops > 0:
        extractor.cropper = Cropper(build_detector(options.detector, device), num_crops)
    return extractor
