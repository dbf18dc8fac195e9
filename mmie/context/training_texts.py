"""Distinct texts of the training posts, with their labels, ids and pictures."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmie.context.errors import ContextError
from mmie.context.label_words import label_sentences
from mmie.data.corpora.base import Corpus
from mmie.data.instances import draw_share, instance_posts
from mmie.data.picture_audit import picture_digests
from mmie.types import Post, Task

_LINK = re.compile(r"\b(?:https?://|www\.)\S*|\bt\.co/\S*", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_COPY = re.compile(r"#\d+\Z")
"""End of an id that another post of the split has, too."""


@dataclass(slots=True)
class TrainingText:
    """Text of one or several training posts.

    Attributes:
        text: Words of the first of the posts, joined by blanks.
        labels: Sentences about the labels of all the posts, each once.
        ids: Ids of the posts.
        pictures: Keys of their pictures: see `PictureKeys`.
    """

    text: str
    labels: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    pictures: set[str] = field(default_factory=set)


def text_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without links, punctuation and emojis.

    >>> text_words("RT @Ann: Jordan lands! http://t.co/x1")
    ['rt', 'ann', 'jordan', 'lands']
    """
    return _WORD.findall(_LINK.sub(" ", text).casefold())


def text_key(post: Post) -> str:
    """Return what two posts with the same text have in common, whatever their links and case."""
    text = " ".join(post.words)
    return " ".join(text_words(text)) or text


class PictureKeys:
    """Keys of pictures, equal for files of equal content.

    A picture that cannot be read is known by the name of its file, since published corpora have a
    folder of pictures for each split.

    Args:
        posts: Posts whose pictures are asked for.
    """

    def __init__(self, posts: Iterable[Post]) -> None:
        paths = {Path(image) for post in posts for image in post.images}
        self._digests = picture_digests(path for path in sorted(paths) if path.is_file())

    def of(self, post: Post) -> set[str]:
        """Return the keys of a post's pictures."""
        paths = map(Path, post.images)
        return {self._digests.get(path, path.name) for path in paths}


def labelled_posts(
    corpus: Corpus, task: Task | None = None, share: float = 1.0, seed: int = 1234
) -> list[Post]:
    """Return the training posts with the labels that a fit sees.

    Args:
        corpus: The corpus.
        task: Task whose labels are kept; None keeps all.
        share: Share of the training instances, as ``data.train_fraction``. They are those that a
            fit with the same seed draws, unless it reads posts in windows.
        seed: Seed of the draw, as ``seed_everything`` of the fit.

    Returns:
        A post for each instance of the task: see `mmie.data.instances.instance_posts`.

    Raises:
        ContextError: The share is 0 or more than 1, or a part of the instances is to be drawn and
            the task is not known.
    """
    if not 0 < share <= 1:
        raise ContextError(f"train_fraction is {share}: expected a share above 0 and at most 1")
    posts = corpus.posts("train")
    if task is None and len(corpus.tasks) == 1:
        task = corpus.tasks[0]
    if share < 1 and task is None:
        raise ContextError(
            f"{corpus.name} has labels of several tasks: name the one whose training instances are "
            "drawn by --task"
        )
    if task is not None:
        posts = instance_posts(posts, task)
    return posts if share == 1 else draw_share(posts, share, seed)


def merge_texts(posts: Iterable[Post], pictures: PictureKeys) -> dict[str, TrainingText]:
    """Merge posts with the same text.

    Returns:
        The distinct texts by `text_key`, in order of their first posts.
    """
    texts: dict[str, TrainingText] = {}
    for post in posts:
        entry = texts.setdefault(text_key(post), TrainingText(" ".join(post.words)))
        entry.ids.add(post.id)
        entry.pictures |= pictures.of(post)
        entry.labels += [line for line in label_sentences(post) if line not in entry.labels]
    return texts


def original_ids(posts: Iterable[Post]) -> dict[str, str]:
    """Map the ids of posts to those that they had before they were made unique.

    >>> original_ids([Post("7"), Post("7#2"), Post("8#2")])
    {'7': '7', '7#2': '7', '8#2': '8#2'}
    """
    ids = [post.id for post in posts]
    known = set(ids)
    originals: dict[str, str] = {}
    for name in ids:
        shortened = _COPY.sub("", name)
        originals[name] = shortened if shortened in known else name
    return originals
