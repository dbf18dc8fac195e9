"""A callable over one post or many, in the manner of ``transformers.pipeline``."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, overload

from typing_extensions import Unpack

from mmie.checkpoints import CheckpointError
from mmie.data.parsing import MalformedLine
from mmie.data.post_json import post_from_json
from mmie.inference.extractor import Extractor, ExtractorOptions, load_extractor
from mmie.inference.frames import is_frame
from mmie.inference.reading import PostError
from mmie.types import Extraction, Post, Task

_LABELS = ("entities", "relations")
_PICTURES = ("image", "images", "crops")
_POST_KEYS = ("id", "text", "words", *_PICTURES, "context", *_LABELS)


class Pipeline:
    """Callable that extracts from one post or from many.

    A post is a text, a `Post`, or a dictionary with ``text`` or ``words`` and, if it has them,
    ``image`` and ``crops`` (a path, bytes, a Pillow image or an array each), ``context``, ``id``,
    and ``entities`` and ``relations`` in the form of `mmie.data.post_json`.

    Args:
        extractor: The methods.
    """

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor

    @overload
    def __call__(self, posts: str | Mapping[str, Any] | Post[Any]) -> Extraction: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a list is an iterable, but gives a list
        self, posts: list[Any] | tuple[Any, ...]
    ) -> list[Extraction]: ...

    @overload
    def __call__(self, posts: Iterable[Any]) -> Iterator[Extraction]: ...

    def __call__(
        self, posts: str | Mapping[str, Any] | Post[Any] | Iterable[Any]
    ) -> Extraction | list[Extraction] | Iterator[Extraction]:
        """Extract from a post, or from posts in their order.

        Args:
            posts: A post; a list or tuple of posts; or any other iterable of posts, which is read
                lazily. A pandas frame is read by its columns ``text`` and ``image``.

        Returns:
            An extraction for a post, a list for a list, a tuple or a frame, and an iterator for
            another iterable.

        Raises:
            PostError: An item is no post, or its words, entities or relations do not fit its text.
        """
        if isinstance(posts, str | Mapping | Post):
            return self.extractor.extract([to_post(posts, 0)])[0]
        if is_frame(posts):
            frame: Any = posts
            return self.extractor.extract(frame)
        read = (to_post(post, index) for index, post in enumerate(posts))
        if isinstance(posts, list | tuple):
            return self.extractor.extract(read)
        return self.extractor.stream(read)


def pipeline(task: Task, model: str | Path, **options: Unpack[ExtractorOptions]) -> Pipeline:
    """Load a method as a callable over posts.

    Example::

        find = mmie.pipeline("ner", "runs/demo_rap")
        find({"text": "Jordan lands in Phoenix", "image": "plane.jpg"}).entities

    `mmie.load_pair` loads a method for entities and one for relations between them.

    Args:
        task: ``ner`` finds entities, ``re`` classifies the relations of the entities that posts
            bring.
        model: A run folder, whose best checkpoint is taken; a checkpoint file; an exported folder;
            or ``owner/name`` on the hub.
        **options: See `ExtractorOptions`.

    Raises:
        CheckpointError: The task is not known, the model is none, or it is of the other task.
        RunFolderError: The run folder has no checkpoint.
        DeviceError: The device does not exist on this machine.
    """
    if task not in get_args(Task):
        raise CheckpointError(f"task is {task!r}: expected one of {', '.join(get_args(Task))}")
    return Pipeline(load_extractor(**{task: model}, **options))


def to_post(item: Any, index: int) -> Post[Any]:
    """Convert a text or a dictionary to a post. A `Post` stays as it is.

    Args:
        item: The text or dictionary.
        index: Its index in the input, for errors, and as its id if it has none.

    Raises:
        PostError: The item is none of these, has an unknown key, or does not follow the format.
    """
    if isinstance(item, Post):
        return item
    if isinstance(item, str):
        return Post(text=item)
    if not isinstance(item, Mapping):
        raise PostError(
            f"post {index}: expected a text, a dictionary or a Post, found {type(item).__name__}"
        )
    unknown = sorted(set(item).difference(_POST_KEYS), key=str)
    if unknown:
        raise PostError(
            f"post {index}: unknown key {unknown[0]!r}: expected some of {', '.join(_POST_KEYS)}"
        )
    pictures = _pictures_of(item)
    record = {key: value for key, value in item.items() if key not in _PICTURES}
    if not any(record.get(key) for key in ("words", *_LABELS)):  # an empty text is no error
        name = str(record.get("id", ""))
        return Post(name, text=item.get("text", ""), context=item.get("context"), **pictures)
    try:
        post: Post[Any] = post_from_json({"id": str(index), **record}, Path())
    except MalformedLine as error:
        raise PostError(f"post {index}: {error}") from None
    return replace(post, **pictures)


def _pictures_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pictures of a dictionary as attributes of a post.

    The ``image`` comes first. A picture that is named twice counts once.
    """
    images: dict[object, Any] = {}
    for image in (item.get("image"), *(item.get("images") or ())):
        key = Path(image) if isinstance(image, str | Path) else id(image)
        if image is not None:
            images.setdefault(key, image)
    first, *further = images.values() or [None]
    return {
        "image": first,
        "more_images": tuple(further),
        "crops": tuple(item.get("crops") or ()),
    }
