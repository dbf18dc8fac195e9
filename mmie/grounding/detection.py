"""Detections, and the interface of detectors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels of the picture that `load_picture` returns.

Right and bottom are exclusive.
"""


class Detection(NamedTuple):
    """An object that a detector found in a picture.

    Attributes:
        box: Bounding box of the object.
        phrase: The phrase or the category that was found; "" if the detector uses neither.
        score: Confidence from 0 to 1; scores of different detectors are not comparable.
        detector: Name of the detector.
    """

    box: Box
    phrase: str
    score: float
    detector: str


class Detector(ABC):
    """Object detector.

    Attributes:
        reads_phrases: Whether the detections depend on the phrases.
    """

    reads_phrases = True

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, as in the index."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Everything that detections depend on beside picture and phrases, in values of JSON."""

    @abstractmethod
    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Detect objects in pictures.

        Args:
            pictures: RGB pictures of any sizes.
            phrases: Phrases to look for in each picture.

        Returns:
            The detections of each picture, in any order. Boxes may overlap, and may extend beyond
            the picture.
        """
