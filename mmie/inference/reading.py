"""One's own posts as they come, to what a method reads: words with their places in the text, and decoded views."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from PIL import Image
from torch import Tensor

from mmie.data.pictures import PictureError, ResizeMode, load_picture, to_view
from mmie.data.words import split_words
from mmie.types import MmieError, Picture, Post

NO_WORDS = "text: no words"


class PostError(MmieError, ValueError):
    """A post that says two different things."""


class Cropper(Protocol):
    """Cuts objects out of pictures for posts that bring no crops."""

    def crops(self, picture: Image.Image, words: Sequence[str]) -> list[Image.Image]:
        """Crops of an RGB picture, best first, given the post's words."""


class ViewFormat(NamedTuple):
    """How a method sees a picture.

    Attributes:
        size: Height and width of a view in pixels.
        resize: How a picture becomes square.
        views: Views: the picture and its crops; 0 of a method that looks at none.
        max_pixels: Larger pictures are not decoded.
    """

    size: int
    resize: ResizeMode
    views: int
    max_pixels: int


@dataclass(slots=True)
class ReadPost:
    """A post that is ready to be answered.

    Attributes:
        post: Words, their offsets and the text, without pictures.
        views: For each format its views, (3, size, size) uint8; None for one that there is not or cannot be read.
        problems: What could not be read.
    """

    post: Post
    views: dict[ViewFormat, list[Tensor | None]]
    problems: list[str]


def read_post(post: Post[Any], place: int, formats: Sequence[ViewFormat], cropper: Cropper | None = None) -> ReadPost:
    """Split the text and decode the pictures of a post.

    Args:
        post: The post, with ``text`` or ``words``.
        place: Its place in the input, which names it if it has no id.
        formats: How the methods see pictures.
        cropper: Cuts crops where the post has none.

    Raises:
        PostError: It is none, or its words or entities do not fit its text.
    """
    _check_kind(post, place)
    spelled = _with_words(replace(post, id=post.id or str(place), image=None, crops=()))
    _check_places(spelled)
    problems = [] if spelled.words else [NO_WORDS]
    wanted = max((form.views for form in formats), default=0)
    pictures = _decode(post, wanted, formats, problems)
    if cropper is not None and pictures and pictures[0] is not None and not post.crops and wanted > 1:
        pictures = [pictures[0], *cropper.crops(pictures[0], spelled.words)[: wanted - 1]]
    return ReadPost(spelled, {form: _views(pictures, form) for form in formats}, problems)


def _check_kind(post: object, place: int) -> None:
    """Refuse what is no post, which a list of strings or of dictionaries would hold.

    Raises:
        PostError: It is none, or its text is none.
    """
    if not isinstance(post, Post):
        raise PostError(f"post {place}: expected Post(text=..., image=...), found {type(post).__name__}")
    if not isinstance(post.text, str | None):
        raise PostError(f"post {place}: expected a text that is a string, found {type(post.text).__name__}")


def _with_words(post: Post) -> Post:
    """The post with words, text and offsets.

    A lone surrogate, which no encoder reads and no UTF-8 file holds, becomes ``?``.
    """
    if post.words and post.text is None:
        return _join(post)
    text = _writable(post.text or "")
    if not post.words:
        pieces = split_words(text)
        words, offsets = tuple(word for word, _, _ in pieces), tuple((start, end) for _, start, end in pieces)
        return replace(post, words=words, text=text, offsets=offsets)
    if len(post.offsets) != len(post.words):
        raise PostError(f"post {post.id}: {len(post.words)} words, {len(post.offsets)} offsets in its text: one each")
    return replace(post, words=tuple(map(_writable, post.words)), text=text)


def _check_places(post: Post) -> None:
    """Refuse words that lie outside the text, and entities that lie outside the words.

    Raises:
        PostError: There is one.
    """
    arguments = [entity for relation in post.relations for entity in (relation.head, relation.tail)]
    for entity in (*post.entities, *arguments):
        if not 0 <= entity.start < entity.end <= len(post.words):
            raise PostError(f"post {post.id}: an entity from word {entity.start} to {entity.end} of {len(post.words)}")
    length = len(post.text or "")
    for start, end in post.offsets:
        if not 0 <= start <= end <= length:
            raise PostError(f"post {post.id}: a word from character {start} to {end} of {length}")


def _join(post: Post) -> Post:
    """A post of words alone, with spaces between them as its text."""
    words, offsets, start = tuple(map(_writable, post.words)), [], 0
    for word in words:
        offsets.append((start, start + len(word)))
        start += len(word) + 1
    return replace(post, words=words, text=" ".join(words), offsets=tuple(offsets))


def _writable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _decode(
    post: Post[Any], wanted: int, formats: Sequence[ViewFormat], problems: list[str]
) -> list[Image.Image | None]:
    """The picture and its crops, at most ``wanted``, decoded once for all formats; None where unreadable."""
    max_pixels = max((form.max_pixels for form in formats), default=0)
    sources: list[tuple[str, Picture | None]] = [("image", post.image), *(("crop", crop) for crop in post.crops)]
    pictures: list[Image.Image | None] = []
    for kind, source in sources[:wanted]:
        pictures.append(None)
        if source is not None:
            try:
                pictures[-1] = load_picture(source, max_pixels)
            except PictureError as error:
                problems.append(f"{kind}: {error}")
    return pictures


def _views(pictures: Sequence[Image.Image | None], form: ViewFormat) -> list[Tensor | None]:
    """The views of a format, filled up with None."""
    seen = pictures[: form.views]
    views = [None if picture is None else to_view(picture, form.size, form.resize) for picture in seen]
    return [*views, *[None] * (form.views - len(views))]
