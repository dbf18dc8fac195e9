"""One's own posts as they come, to what a method reads: words with their places in the text, and decoded views."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from PIL import Image
from torch import Tensor

from mmie.data.pictures import ImageTransform, PictureError, load_picture
from mmie.data.words import split_words
from mmie.types import MmieError, Picture, Post
from mmie.utils.text import replace_surrogates

NO_WORDS = "text: no words"


class PostError(MmieError, ValueError):
    """A post that says two different things."""


class CropSource(Protocol):
    """Cuts objects out of pictures for posts that bring no crops."""

    def crops(self, picture: Image.Image, words: Sequence[str]) -> list[Image.Image]:
        """Crops of an RGB picture, best first, given the post's words."""


class ViewFormat(NamedTuple):
    """How a method sees a post's pictures.

    Attributes:
        transform: Conversion of pictures to views.
        num_views: The picture and its crops; 0 for a method that uses no images.
    """

    transform: ImageTransform
    num_views: int


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


def read_post(
    post: Post[Any], place: int, formats: Sequence[ViewFormat], cropper: CropSource | None = None
) -> ReadPost:
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
    pictures = _decode(post, formats, problems)
    num_crops = max((form.num_views for form in formats), default=0) - 1
    picture = pictures[0] if pictures else None
    if cropper is not None and picture is not None and not post.crops and num_crops > 0:
        pictures = [picture, *cropper.crops(picture, spelled.words)[:num_crops]]
    return ReadPost(spelled, {form: _views(pictures, form) for form in formats}, problems)


def _check_kind(post: object, place: int) -> None:
    """Refuse what is no post, which a list of strings or of dictionaries would hold.

    Raises:
        PostError: It is none, or its text is none.
    """
    if not isinstance(post, Post):
        raise PostError(
            f"post {place}: expected Post(text=..., image=...), found {type(post).__name__}"
        )
    if not isinstance(post.text, str | None):
        raise PostError(
            f"post {place}: expected a text that is a string, found {type(post.text).__name__}"
        )


def _with_words(post: Post) -> Post:
    """The post with words, text and offsets.

    A lone surrogate, which no encoder reads and no UTF-8 file holds, becomes ``?``.
    """
    if post.words and post.text is None:
        return _join(post)
    text = replace_surrogates(post.text or "")
    if not post.words:
        pieces = split_words(text)
        words, offsets = (
            tuple(word for word, _, _ in pieces),
            tuple((start, end) for _, start, end in pieces),
        )
        return replace(post, words=words, text=text, offsets=offsets)
    if len(post.offsets) != len(post.words):
        raise PostError(
            f"post {post.id}: {len(post.words)} words, {len(post.offsets)} offsets in its text: one each"
        )
    return replace(post, words=tuple(map(replace_surrogates, post.words)), text=text)


def _check_places(post: Post) -> None:
    """Refuse words that lie outside the text, and entities that lie outside the words.

    Raises:
        PostError: There is one.
    """
    arguments = [entity for relation in post.relations for entity in (relation.head, relation.tail)]
    for entity in (*post.entities, *arguments):
        if not 0 <= entity.start < entity.end <= len(post.words):
            raise PostError(
                f"post {post.id}: an entity from word {entity.start} to {entity.end} of {len(post.words)}"
            )
    length = len(post.text or "")
    for start, end in post.offsets:
        if not 0 <= start <= end <= length:
            raise PostError(f"post {post.id}: a word from character {start} to {end} of {length}")


def _join(post: Post) -> Post:
    """A post of words alone, with spaces between them as its text."""
    words, offsets, start = tuple(map(replace_surrogates, post.words)), [], 0
    for word in words:
        offsets.append((start, start + len(word)))
        start += len(word) + 1
    return replace(post, words=words, text=" ".join(words), offsets=tuple(offsets))


def _decode(
    post: Post[Any], formats: Sequence[ViewFormat], problems: list[str]
) -> list[Image.Image | None]:
    """Decode the picture and its crops once for all formats.

    Args:
        post: The post.
        formats: How the methods see pictures.
        problems: Receives a line for each picture that cannot be read.

    Returns:
        Pictures in RGB, as many as the format with most views needs; None where unreadable.
    """
    num_views = max((form.num_views for form in formats), default=0)
    max_pixels = max((form.transform.max_pixels for form in formats), default=0)
    sources: list[tuple[str, Picture | None]] = [("image", post.image)]
    sources += [("crop", crop) for crop in post.crops]
    pictures: list[Image.Image | None] = []
    for kind, source in sources[:num_views]:
        picture = None
        if source is not None:
            try:
                picture = load_picture(source, max_pixels)
            except PictureError as error:
                problems.append(f"{kind}: {error}")
        pictures.append(picture)
    return pictures


def _views(pictures: Sequence[Image.Image | None], form: ViewFormat) -> list[Tensor | None]:
    """Convert pictures to the views of a format; None for views without a picture."""
    views: list[Tensor | None] = [None] * form.num_views
    for index, picture in enumerate(pictures[: form.num_views]):
        if picture is not None:
            views[index] = form.transform.to_view(picture)
    return views
