"""Crops at fixed places, for use where no detector's weights are available."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from mmie.grounding.detection import Detection, Detector

_END = 0.6
"""Share of the long side that each of the two end boxes takes; they share the middle fifth."""

RelativeBox = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the picture's width and height."""


class CenterCrops(Detector):
    """Eight boxes at the same relative places in every picture.

    In order: the central half of each side; the two ends of the long side, which a square view of
    the whole picture cuts off; the four quarters; the central quarter of each side. The score is
    one over the box's position in this order.
    """

    reads_phrases = False

    @property
    def name(self) -> str:
        """``center``."""
        return "center"

    @property
    def identity(self) -> Mapping[str, Any]:
        """Name and relative boxes."""
        shares = [_relative_boxes(is_wide=True), _relative_boxes(is_wide=False)]
        return {"detector": self.name, "shares": shares}

    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Return eight boxes for each picture."""
        return [self._detect(picture.width, picture.height) for picture in pictures]

    def _detect(self, width: int, height: int) -> list[Detection]:
        """Return the eight boxes for a picture of this size in pixels."""
        detections = []
        relative_boxes = _relative_boxes(is_wide=width >= height)
        for position, (left, top, right, bottom) in enumerate(relative_boxes, start=1):
            box = (
                round(left * width),
                round(top * height),
                round(right * width),
                round(bottom * height),
            )
            detections.append(Detection(box, "", 1 / position, self.name))
        return detections


def _relative_boxes(is_wide: bool) -> list[RelativeBox]:
    """Return the boxes for wide or for tall pictures, in order of their scores."""
    if is_wide:
        ends = [(0.0, 0.0, _END, 1.0), (1 - _END, 0.0, 1.0, 1.0)]
    else:
        ends = [(0.0, 0.0, 1.0, _END), (0.0, 1 - _END, 1.0, 1.0)]
    quarters = [
        (0.0, 0.0, 0.5, 0.5),
        (0.5, 0.0, 1.0, 0.5),
        (0.0, 0.5, 0.5, 1.0),
        (0.5, 0.5, 1.0, 1.0),
    ]
    return [(0.25, 0.25, 0.75, 0.75), *ends, *quarters, (0.375, 0.375, 0.625, 0.625)]
