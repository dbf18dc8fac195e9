"""Reading of one's own posts: words with their offsets in the text, and decoded views."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from PIL import Image
from torch import Tensor

from mmie.data.animations import load_frames, share_views
from mmie.data.instances import fill_up
from mmie.data.pictures import ImageTransform, PictureError, load_picture
from mmie.data.words import find_unsplit, join_words, split_offsets
from mmie.types import MmieError, Post
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
        num_views: The pictures and their crops; 0 for a method that uses no images.
        num_images: Those of the views that are whole pictures.
    """

    transform: ImageTransform
    num_views: int
    num_images: int = 1

    @property
    def num_crops(self) -> int:
        """Those of the views that are crops."""
        return max(self.num_views - self.num_images, 0)


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
    post: Post[Any],
    index: int,
    formats: Sequence[ViewFormat],
    cropper: CropSource | None = None,
    fast_jpeg: bool = False,
) -> ReadPost:
    """Split the text and decode the pictures of a post.

    Args:
        post: The post, with ``text`` or ``words``.
        index: Its index in the input, which names it if it has no id.
        formats: Formats in which the methods see pictures.
        cropper: Cuts crops if the post has none.
        fast_jpeg: Reduce JPEG pictures while they are decoded, not below the size of the views.
            Pictures are decoded whole where a cropper cuts them.

    Raises:
        PostError: The item is no post, or its words or entities do not fit its text.
    """
    _check_type(post, index)
    bare = replace(post, id=post.id or str(index), image=None, more_images=(), crops=())
    split = _with_words(bare)
    _check_offsets(split)
    problems = [] if split.words else [NO_WORDS]
    num_read = find_unsplit(split.text or "", split.offsets)
    if num_read is not None:
        problems.append(f"text: only its first {num_read} characters were split into words")
    num_crops = max_pixels = least_side = 0
    for form in formats:
        if fast_jpeg and cropper is None:
            least_side = max(least_side, form.transform.least_side)
        num_crops = max(num_crops, form.num_crops)
        max_pixels = max(max_pixels, form.transform.max_pixels)
    pictures: dict[int, list[Image.Image | None]] = {}
    image_problems: list[str] = []
    for num_images in {form.num_images for form in formats if form.num_views}:
        pictures[num_images] = decode_images(
            post, num_images, max_pixels, image_problems, least_side
        )
    problems += dict.fromkeys(image_problems)
    crops = _decode_crops(post, num_crops, max_pixels, problems, least_side)
    first = next((some[0] for some in pictures.values() if some), None)
    if cropper is not None and first is not None and not post.crops and num_crops > 0:
        crops = [*cropper.crops(first, split.words)[:num_crops]]
    views = {form: _views(pictures.get(form.num_images, []), crops, form) for form in formats}
    return ReadPost(split, views, problems)


def decode_images(
    post: Post[Any], num_images: int, max_pixels: int, problems: list[str], least_side: int = 0
) -> list[Image.Image | None]:
    """Decode the whole pictures of a post, frames of animations and videos included.

    Args:
        post: The post.
        num_images: Most pictures.
        max_pixels: Largest picture that is decoded.
        problems: Receives a line for each picture that cannot be read.
        least_side: See `load_picture`.

    Returns:
        Pictures in RGB; None where unreadable.
    """
    pictures: list[Image.Image | None] = []
    shares = share_views(post.images, num_images, max_pixels)
    for number, (source, share) in enumerate(zip(post.images, shares, strict=False), start=1):
        try:
            pictures += load_frames(source, share, max_pixels, least_side)
        except PictureError as error:
            name = "image" if len(post.images) == 1 else f"image {number}"
            problems.append(f"{name}: {error}")
            pictures.append(None)
    return pictures


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
    """Return the post with words, text and offsets. Words alone are joined by spaces.

    Lone surrogates, which no encoder reads and no UTF-8 file holds, become ``?``.
    """
    if post.words and post.text is None:
        words = tuple(map(replace_surrogates, post.words))
        text, offsets = join_words(words)
        return replace(post, words=words, text=text, offsets=offsets)
    text = replace_surrogates(post.text or "")
    if not post.words:
        offsets = split_offsets(text)
        words = tuple(text[start:end] for start, end in offsets)
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
    entities = list(post.entities)
    for relation in post.relations:
        entities += [relation.head, relation.tail]
    num_words, length = len(post.words), len(post.text or "")
    for entity in entities:
        if not 0 <= entity.start < entity.end <= num_words:
            raise PostError(
                f"post {post.id}: an entity from word {entity.start} to {entity.end} of {num_words}"
            )
    for start, end in post.offsets:
        if not 0 <= start <= end <= length:
            raise PostError(f"post {post.id}: a word from character {start} to {end} of {length}")


def _decode_crops(
    post: Post[Any], num_crops: int, max_pixels: int, problems: list[str], least_side: int
) -> list[Image.Image | None]:
    """Decode the first crops of a post.

    Args:
        post: The post.
        num_crops: Most crops.
        max_pixels: Largest crop that is decoded.
        problems: Receives a line for each crop that cannot be read.
        least_side: See `load_picture`.

    Returns:
        Crops in RGB; None where unreadable.
    """
    crops: list[Image.Image | None] = []
    for source in post.crops[:num_crops]:
        crop = None
        if source is not None:
            try:
                crop = load_picture(source, max_pixels, least_side)
            except PictureError as error:
                problems.append(f"crop: {error}")
        crops.append(crop)
    return crops


def _views(
    pictures: Sequence[Image.Image | None],
    crops: Sequence[Image.Image | None],
    form: ViewFormat,
) -> list[Tensor | None]:
    """Convert pictures and crops to the views of a format. Views without a picture are None."""
    chosen = [*fill_up(pictures, form.num_images), *fill_up(crops, form.num_crops)]
    views: list[Tensor | None] = []
    for picture in chosen[: form.num_views]:
        views.append(None if picture is None else form.transform.to_view(picture))
    return views
