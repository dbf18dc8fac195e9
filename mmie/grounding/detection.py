"""What a detector is, and the one that needs no weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image

from mmie.types import MmieError

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, right and bottom exclusive, of the picture as `load_picture` gives it."""


class GroundingError(MmieError, ValueError):
    """Something that crops cannot be cut with or written to; the message is one line and says how to mend it."""


class Detection(NamedTuple):
    """A place in a picture where something was found.

    Attributes:
        box: The place.
        phrase: What was found: a phrase of the post or a category; "" if the detector looks for nothing in particular.
        score: How sure the detector is, from 0 to 1; scores of different detectors do not compare.
        detector: Name of the detector.
    """

    box: Box
    phrase: str
    score: float
    detector: str


class Detector(ABC):
    """Finds objects in pictures.

    Attributes:
        reads_phrases: Whether the result depends on the phrases.
    """

    reads_phrases = True

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, as in the index."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """All that a result depends on beside picture and phrases, as JSON can hold it."""

    @abstractmethod
    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """What is found in each picture, in any order; boxes may overlap and reach over the edge.

        Args:
            pictures: RGB pictures of any sizes.
            phrases: What to look for in each of them.
        """


class CenterCrops(Detector):
    """The same places in every picture, for where no detector's weights can be had.

    In order: the centre at twice its size; the two ends of the long side, which a square view of the whole picture cuts
    off; the four quarters; the centre at four times its size. The score is one over the place in this order.
    """

    reads_phrases = False
    _END = 0.6
    """Share of the long side that either end takes; the two share the middle fifth."""

    @property
    def name(self) -> str:
        """``center``."""
        return "center"

    @property
    def identity(self) -> Mapping[str, Any]:
        """The shares of the sides that the boxes take."""
        return {
            "detector": self.name,
            "shares": [_boxes(wide, self._END) for wide in (True, False)],
        }

    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Eight boxes in each picture."""
        return [self._detect(*picture.size) for picture in pictures]

    def _detect(self, width: int, height: int) -> list[Detection]:
        shares = _boxes(width >= height, self._END)
        sides = (width, height, width, height)
        boxes = [
            tuple(round(share * side) for share, side in zip(box, sides, strict=True))
            for box in shares
        ]
        return [
            Detection((b[0], b[1], b[2], b[3]), "", 1 / place, self.name)
            for place, b in enumerate(boxes, start=1)
        ]


def _boxes(is_wide: bool, end: float) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom as shares of the sides."""
    ends = (
        [(0.0, 0.0, end, 1.0), (1 - end, 0.0, 1.0, 1.0)]
        if is_wide
        else [(0.0, 0.0, 1.0, end), (0.0, 1 - end, 1.0, 1.0)]
    )
    quarters = [(left, top, left + 0.5, top + 0.5) for top in (0.0, 0.5) for left in (0.0, 0.5)]
    return [(0.25, 0.25, 0.75, 0.75), *ends, *quarters, (0.375, 0.375, 0.625, 0.625)]
