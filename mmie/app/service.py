"""Extraction from clients' posts, whose pictures are checked before they are decoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmie.app.explanation import explain
from mmie.app.limits import Limits
from mmie.app.schemas import ExtractionOut
from mmie.app.uploads import decoded_bytes, open_upload
from mmie.data.pictures import PictureError, load_picture
from mmie.inference import Extractor
from mmie.inference.formats.text import to_json
from mmie.types import Extraction, Post


@dataclass(frozen=True, slots=True)
class PostRequest:
    """A client's post.

    Attributes:
        post: The post; its picture is the bytes of a file.
        explain: Whether to explain the predictions.
        decoded_bytes: Most memory that decoding the picture takes.
        problem: The reason why the picture is not decoded; None if it may be or there is none.
    """

    post: Post[bytes]
    explain: bool = False
    decoded_bytes: int = 0
    problem: str | None = None


def check_picture(request: PostRequest, limits: Limits) -> PostRequest:
    """Judge the picture of a post by its header.

    Args:
        request: The post, with the picture that the client sent.
        limits: Limits of pictures.

    Returns:
        The post with the memory that its picture takes, or without the picture and with the reason.
    """
    if request.post.image is None:
        return request
    try:
        with open_upload(request.post.image, limits) as picture:
            return replace(request, decoded_bytes=decoded_bytes(picture))
    except PictureError as error:
        return replace(request, post=replace(request.post, image=None), problem=str(error))


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
                responses.append(_to_response(next(extractions), request.problem))
        return responses

    def _open(self, post: Post[bytes]) -> Post[Any]:
        """Return a post with its picture opened, within the limits, but not decoded."""
        opened: Post[Any] = post
        if post.image is not None:
            opened = replace(opened, image=open_upload(post.image, self.limits))
        return opened

    def _explain(self, request: PostRequest) -> ExtractionOut:
        """Extract from a post with explanation."""
        post: Post[Any] = self._open(request.post)
        problem = request.problem
        if post.image is not None:
            try:
                post = replace(post, image=load_picture(post.image, self.limits.max_pixels))
            except PictureError as error:
                post, problem = replace(post, image=None), str(error)
        extraction, explanation = explain(self.extractor, post)
        return _to_response(extraction, problem).model_copy(update={"explanation": explanation})


def _to_response(extraction: Extraction, problem: str | None) -> ExtractionOut:
    """Convert an extraction to its JSON body, with the picture's problem first."""
    problems = (
        extraction.problems if problem is None else (f"image: {problem}", *extraction.problems)
    )
    record = to_json(replace(extraction, problems=problems, extra={}))
    record["offsets"] = list(map(list, extraction.offsets))
    return ExtractionOut.model_validate(record)
