"""Posts of clients put to an `Extractor`, and its answers as they are sent."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image, UnidentifiedImageError

from mmie.app.explanation import explain
from mmie.app.schemas import Found
from mmie.inference import Extractor
from mmie.inference.formats.text import to_json
from mmie.types import Extraction, Post

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Kinds of pictures that are opened: Pillow hands some others, such as PostScript, to programs that run them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A post of a client.

    Attributes:
        post: The post; its picture is bytes.
        explain: Whether to say what part the views had.
    """

    post: Post[bytes]
    explain: bool = False


class Service:
    """Answers posts.

    Args:
        extractor: Finds entities and relations.
        max_pixels: Larger pictures are not decoded.
    """

    def __init__(self, extractor: Extractor, max_pixels: int) -> None:
        self.extractor = extractor
        self.max_pixels = max_pixels

    def answer(self, asked: Sequence[Asked]) -> list[Found]:
        """What is found in each post; those to be explained are answered one by one, for their pictures are kept."""
        plain = [question.post for question in asked if not question.explain]
        found = iter(self._find(plain))
        return [
            self._explain(question.post) if question.explain else next(found) for question in asked
        ]

    def _find(self, posts: Sequence[Post[bytes]]) -> list[Found]:
        """What is found in each post."""
        refused = [refuse_picture(post.image, self.max_pixels) for post in posts]
        safe = [
            replace(post, image=None) if reason else post
            for post, reason in zip(posts, refused, strict=True)
        ]
        extractions = self.extractor.extract(safe)
        return [
            _to_found(extraction, reason)
            for extraction, reason in zip(extractions, refused, strict=True)
        ]

    def _explain(self, post: Post[bytes]) -> Found:
        """The same of one post, and why."""
        reason = refuse_picture(post.image, self.max_pixels)
        extraction, explanation = explain(
            self.extractor, replace(post, image=None) if reason else post
        )
        return _to_found(extraction, reason).model_copy(update={"explanation": explanation})


def refuse_picture(data: bytes | None, max_pixels: int) -> str | None:
    """Why a picture is not to be decoded, seen from its head; None if it may be, or if there is none."""
    if data is None:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            return (
                f"more than {max_pixels} pixels"
                if picture.width * picture.height > max_pixels
                else None
            )
    except UnidentifiedImageError:
        return f"not a picture of a kind that is read here: {', '.join(FORMATS)}"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return f"more than {max_pixels} pixels"
    except Exception:  # Pillow's plugins raise almost anything on a damaged header
        return "truncated"


def _to_found(extraction: Extraction, reason: str | None) -> Found:
    """What was found, as it is sent."""
    refused = () if reason is None else (f"image: {reason}",)
    return Found.model_validate(
        to_json(replace(extraction, problems=(*refused, *extraction.problems)))
    )
