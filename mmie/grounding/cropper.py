"""Object crops of single pictures in memory."""

from collections.abc import Sequence

from PIL import Image

from mmie.grounding.detection import Detector
from mmie.grounding.phrases import PhraseSource, no_phrases, noun_phrases
from mmie.grounding.selection import crop_image, select
from mmie.types import Post


class Cropper:
    """Detector whose selected detections are cut out of pictures in memory.

    Args:
        detector: Detects the objects.
        num_crops: Most crops of a picture.
        phrases: Source of the phrases to look for; ignored if the detector reads no phrases.
    """

    def __init__(
        self, detector: Detector, num_crops: int = 3, phrases: PhraseSource = noun_phrases
    ) -> None:
        self.detector = detector
        self.num_crops = num_crops
        self.phrases = phrases if detector.reads_phrases else no_phrases

    def crops(self, picture: Image.Image, words: Sequence[str]) -> list[Image.Image]:
        """Return the crops of a picture, best first.

        Args:
            picture: RGB picture.
            words: Words of the picture's post.
        """
        phrases = self.phrases(Post(words=tuple(words)))
        (detections,) = self.detector.detect([picture], [phrases])
        selected = select(detections, picture.size, self.num_crops)
        return [crop_image(picture, detection.box) for detection in selected]
