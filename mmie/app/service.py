"""Extraction from clients' posts, whose pictures are checked before they are decoded."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image, UnidentifiedImageError

from mmie.app.explanation import explain
from mmie.app.schemas import ExtractionOut
from mmie.inference import Extractor
from mmie.inference.formats.text import to_json
from mmie.types import Extraction, Post

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats of pictures that are opened; Pillow runs other programs for some, such as PostScript."""


@dataclass(frozen=True, slots=True)
class PostRequest:
    """A client's post.

    Attributes:
        post: The post; its picture is the bytes of a file.
        explain: Whether to explain the predictions.
    """

    post: Post[bytes]
    explain: bool = False


class Service:
    """Extraction from clients' posts.

    Args:
        extractor: Finds entities and relations.
        max_pixels: Largest picture, in pixels, that is decoded.
    """

    def __init__(self, extractor: Extractor, max_pixels: int) -> None:
        self.extractor = extractor
        self.max_pixels = max_pixels

    def extract(self, requests: Sequence[PostRequest]) -> list[ExtractionOut]:
        """Extract from posts together, and one by one from those that are to be explained."""
        plain = iter(self._extract([item.post for item in requests if not item.explain]))
        responses = []
        for request in requests:
            response = self._explain(request.post) if request.explain else next(plain)
            responses.append(response)
        return responses

    def _extract(self, posts: Sequence[Post[bytes]]) -> list[ExtractionOut]:
        """Extract from posts without explanation."""
        problems = [picture_problem(post.image, self.max_pixels) for post in posts]
        checked = []
        for post, problem in zip(posts, problems, strict=True):
            checked.append(post if problem is None else replace(post, image=None))
        responses = []
        for extraction, problem in zip(self.extractor.extract(checked), problems, strict=True):
            responses.append(_to_response(extraction, problem))
        return responses

    def _explain(self, post: Post[bytes]) -> ExtractionOut:
        """Extract from a post with explanation."""
        problem = picture_problem(post.image, self.max_pixels)
        checked = post if problem is None else replace(post, image=None)
        extraction, explanation = explain(self.extractor, checked)
        return _to_response(extraction, problem).model_copy(update={"explanation": explanation})


def picture_problem(data: bytes | None, max_pixels: int) -> str | None:
    """Return the reason why a picture must not be decoded, judging by its header.

    Args:
        data: Bytes of the picture's file; None for no picture.
        max_pixels: Largest picture, in pixels, that is decoded.

    Returns:
        The reason; None if the picture may be decoded or there is none.
    """
    if data is None:
        return None
    too_large = f"more than {max_pixels} pixels"
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            return too_large if picture.width * picture.height > max_pixels else None
    except UnidentifiedImageError:
        return f"not a picture of a kind that is read here: {', '.join(FORMATS)}"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return too_large
    except Exception:  # Pillow's plugins raise almost anything on a damaged header
        return "truncated"


def _to_response(extraction: Extraction, problem: str | None) -> ExtractionOut:
    """Convert an extraction to its JSON body, with the picture's problem first."""
    problems = (
        extraction.problems if problem is None else (f"image: {problem}", *extraction.problems)
    )
    return ExtractionOut.model_validate(to_json(replace(extraction, problems=problems)))
