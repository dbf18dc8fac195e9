"""Extraction from clients' posts, whose pictures are checked before they are decoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmie.app.explanation import explain
from mmie.app.limits import Limits
from mmie.app.schemas import ExtractionOut
from mmie.app.uploads import decoded_bytes, open_upload
from mmie.data.pictures import PictureError
from mmie.inference import Extractor
from mmie.inference.formats.text import to_json
from mmie.types import Extraction, Post


@dataclass(frozen=True, slots=True)
class PostRequest:
    """A client's post.

    Attributes:
        post: The post; its pictures are the bytes of files.
        explain: Whether to explain the predictions.
        decoded_bytes: Most memory that decoding the pictures takes, one by one, in sum.
        problems: Reasons why pictures are not decoded.
    """

    post: Post[bytes]
    explain: bool = False
    decoded_bytes: int = 0
    problems: tuple[str, ...] = ()


def check_picture(request: PostRequest, limits: Limits) -> PostRequest:
    """Judge the pictures of a post by their headers.

    Args:
        request: The post, with the pictures that the client sent.
        limits: Limits of pictures.

    Returns:
        The post with the memory that its pictures take, without those that are not decoded, and
        with the reasons.
    """
    total = 0
    images: list[bytes] = []
    problems: list[str] = []
    for number, image in enumerate(request.post.images, start=1):
        try:
            with open_upload(image, limits) as picture:
                size = decoded_bytes(picture)
            if total + size > limits.max_decoded:
                raise PictureError(f"more than {limits.max_decoded} bytes when all are decoded")
            total += size
            images.append(image)
        except PictureError as error:
            name = "image" if len(request.post.images) == 1 else f"image {number}"
            problems.append(f"{name}: {error}")
    post = _with_images(request.post, images)
    return replace(request, post=post, decoded_bytes=total, problems=tuple(problems))


class Service:
    """Extraction from clients' posts, whose pictures `check_picture` has judged.

    Args:
        extractor: Finds entities and relations.
        limits: Limits of pictures.
    """

    def __init__(self, extractor: Extractor, limits: Limits) -> None:
        self.extractor = extractor
        self.limits = limits

    def extract(self, requests: Sequence[PostRequest]) -> list[ExtractionOut]:
        """Extract from posts together, and one by one from those that are to be explained."""
        plain = [request for request in requests if not request.explain]
        opened = [self._open(request.post) for request in plain]
        extractions = iter(self.extractor.extract(opened))
        responses = []
        for request in requests:
            if request.explain:
                responses.append(self._explain(request))
            else:
                responses.append(_to_response(next(extractions), request.problems))
        return responses

    def _open(self, post: Post[bytes]) -> Post[Any]:
        """Return a post with its pictures opened, within the limits, but not decoded."""
        return _with_images(post, [open_upload(image, self.limits) for image in post.images])

    def _explain(self, request: PostRequest) -> ExtractionOut:
        """Extract from a post with explanation."""
        post: Post[Any] = self._open(request.post)
        extraction, explanation = explain(self.extractor, post)
        response = _to_response(extraction, request.problems)
        return response.model_copy(update={"explanation": explanation})


def _with_images(post: Post[Any], images: Sequence[Any]) -> Post[Any]:
    """Return a post with other pictures."""
    return replace(post, image=next(iter(images), None), more_images=tuple(images[1:]))


def _to_response(extraction: Extraction, problems: tuple[str, ...]) -> ExtractionOut:
    """Convert an extraction to its JSON body, with the problems of pictures first."""
    all_problems = (*problems, *extraction.problems)
    record = to_json(replace(extraction, problems=all_problems, extra={}))
    record["offsets"] = list(map(list, extraction.offsets))
    return ExtractionOut.model_validate(record)
