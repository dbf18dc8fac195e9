"""Reading of one's own posts: words with their offsets in the text, and decoded views."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from PIL import Image
from torch import Tensor

from mmie.data.pictures import ImageTransform, PictureError, load_picture
from mmie.data.words import find_unsplit, split_words
from mmie.types import MmieError, Picture, Post
from mmie.utils.text import replace_surrogates

NO_WORDS = "text: no words"


class PostError(MmieError, ValueError):
    """A post that is malformed or contradicts itself."""


class CropSource(Protocol):
    """Source of object crops for posts that bring none."""

    def crops(self, picture: Image.Image, words: Sequence[str]) -> list[Image.Image]:
        """Return crops of an RGB picture, best first, given the post's words."""


class ViewFormat(NamedTuple):
    """Format in which a method sees a post's pictures.

    Attributes:
        transform: Conversion of pictures to views.
        num_views: The picture and its crops; 0 for a method that uses no images.
    """

    transform: ImageTransform
    num_views: int


@dataclass(slots=True)
class ReadPost:
    """Post that is ready for prediction.

    Attributes:
        post: Words, their offsets and the text, without pictures.
        views: Views of each format, (3, size, size) uint8; None for a view that is missing or
            cannot be read.
        problems: A line for each part of the post that could not be read.
    """

    post: Post
    views: dict[ViewFormat, list[Tensor | None]]
    problems: list[str]


def read_post(
    post: Post[Any], index: int, formats: Sequence[ViewFormat], cropper: CropSource | None = None
) -> ReadPost:
    """Split the text and decode the pictures of a post.

    Args:
        post: The post, with ``text`` or ``words``.
        index: Its index in the input, which names it if it has no id.
        formats: Formats in which the methods see pictures.
        cropper: Cuts crops if the post has none.

    Raises:
        PostError: The item is no post, or its words or entities do not fit its text.
    """
    _check_type(post, index)
    split = _with_words(replace(post, id=post.id or str(index), image=None, crops=()))
    _check_offsets(split)
    problems = [] if split.words else [NO_WORDS]
    num_read = find_unsplit(split.text or "", split.offsets)
    if num_read is not None:
        problems.append(f"text: only its first {num_read} characters were split into words")
    pictures = _decode(post, formats, problems)
    num_crops = max((form.num_views for form in formats), default=0) - 1
    picture = pictures[0] if pictures else None
    if cropper is not None and picture is not None and not post.crops and num_crops > 0:
        pictures = [picture, *cropper.crops(picture, split.words)[:num_crops]]
    return ReadPost(split, {form: _views(pictures, form) for form in formats}, problems)


def _check_type(post: object, index: int) -> None:
    """Raise if an item is no post, such as a string or a dictionary.

    Raises:
        PostError: The item is no post, or its text is no string.
    """
    if not isinstance(post, Post):
        raise PostError(
            f"post {index}: expected Post(text=..., image=...), found {type(post).__name__}"
        )
    if not isinstance(post.text, str | None):
        raise PostError(
            f"post {index}: expected a text that is a string, found {type(post.text).__name__}"
        )


def _with_words(post: Post) -> Post:
    """Return the post with words, text and offsets.

    Lone surrogates, which no encoder reads and no UTF-8 file holds, become ``?``.
    """
    if post.words and post.text is None:
        return _join(post)
    text = replace_surrogates(post.text or "")
    if not post.words:
        pieces = split_words(text)
        words = tuple(word for word, _, _ in pieces)
        offsets = tuple((start, end) for _, start, end in pieces)
        return replace(post, words=words, text=text, offsets=offsets)
    if len(post.offsets) != len(post.words):
        raise PostError(
            f"post {post.id}: {len(post.words)} words, {len(post.offsets)} offsets in its text: "
            "one each"
        )
    return replace(post, words=tuple(map(replace_surrogates, post.words)), text=text)


def _check_offsets(post: Post) -> None:
    """Raise if a word lies outside the text, or an entity outside the words.

    Raises:
        PostError: An offset is out of range.
    """
    arguments = [entity for relation in post.relations for entity in (relation.head, relation.tail)]
    num_words, length = len(post.words), len(post.text or "")
    for entity in (*post.entities, *arguments):
        if not 0 <= entity.start < entity.end <= num_words:
            raise PostError(
                f"post {post.id}: an entity from word {entity.start} to {entity.end} of {num_words}"
            )
    for start, end in post.offsets:
        if not 0 <= start <= end <= length:
            raise PostError(f"post {post.id}: a word from character {start} to {end} of {length}")


def _join(post: Post) -> Post:
    """Return a post of words alone with a text: the words, joined by spaces."""
    words = tuple(map(replace_surrogates, post.words))
    offsets = []
    start = 0
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
    """Convert pictures to the views of a format. Views without a picture are None."""
    views: list[Tensor | None] = [None] * form.num_views
    for index, picture in enumerate(pictures[: form.num_views]):
        if picture is not None:
            views[index] = form.transform.to_view(picture)
    return views
