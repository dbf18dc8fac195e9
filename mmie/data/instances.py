"""Instances: posts, or posts with one relation each, that are encoded once."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from mmie.data.encoding import EncodedText, WordTokenizer
from mmie.data.long_posts import LongPosts, TextWindow, split_windows
from mmie.tags import entities_to_tags, tag_names
from mmie.types import UNKNOWN_LABEL, Post, Relation, Schema, Task

_T = TypeVar("_T")
Pieces = Sequence[Sequence[int]]
"""Subword ids of every word of a text."""
Views = tuple[Path | None, ...]
"""Files of the pictures, then of the crops; None for a view that is absent or unreadable."""


@dataclass(slots=True)
class Instance:
    """A post (NER), or a post with one of its relations (RE).

    It holds lists, not tensors, since a worker process that is spawned would open a file for each
    tensor.

    Attributes:
        post: The post.
        relation: The relation; None for NER.
        text: Subwords of the post.
        tags: Gold tag id of every word that was kept. Empty for RE.
        label: Gold relation id; `UNKNOWN_LABEL` for NER.
        views: Files of the views.
        window: The window of a longer post that the instance is; None for a whole post.
    """

    post: Post
    relation: Relation | None
    text: EncodedText
    tags: list[int]
    label: int
    views: Views
    window: TextWindow | None = None

    def __len__(self) -> int:
        return len(self.text)

    @property
    def is_truncated(self) -> bool:
        """Whether words of the post were cut off."""
        return self.text.num_words < len(self.post.words)


def encode_posts(
    posts: Sequence[Post],
    schema: Schema,
    tokenizer: WordTokenizer,
    use_context: bool = False,
    long: LongPosts = "truncate",
    pieces: Sequence[Pieces] | None = None,
) -> list[Instance]:
    """Encode posts to instances whose views are the files that the posts name.

    Args:
        posts: The posts.
        schema: Task, labels and sizes.
        tokenizer: Tokenizer of the text encoder.
        use_context: Whether each post's context follows its words, as a second segment.
        long: ``windows`` makes an instance of each window of a post that does not fit (NER).
            Otherwise its end is cut off.
        pieces: Subwords of all words of every post; None splits them.

    Returns:
        One instance for each post or window (NER) or relation (RE), in order.
    """
    if pieces is None:
        ends = []
        for post in posts:
            relations = post.relations if schema.task == "re" else ()
            arguments = [max(relation.head.end, relation.tail.end) for relation in relations]
            ends.append(max(arguments, default=0))
        pieces = tokenizer.split_readable([post.words for post in posts], ends)
    contexts: list[list[int]] = [[]] * len(posts)
    if use_context:
        contexts = tokenizer.split_contexts([post.context for post in posts])
    instances: list[Instance] = []
    for post, words, context in zip(posts, pieces, contexts, strict=True):
        if schema.task == "ner":
            text = tokenizer.encode(words, context)
            instance = _entity_instance(post, text, schema)
            if long == "windows" and instance.is_truncated:
                instances += encode_windows(post, schema, tokenizer, context)
            else:
                instances.append(instance)
            continue
        for relation in post.relations:
            text = tokenizer.encode_pair(words, relation, context)
            instances.append(_relation_instance(post, relation, text, schema))
    return instances


def encode_windows(
    post: Post, schema: Schema, tokenizer: WordTokenizer, context: Sequence[int] = ()
) -> Iterator[Instance]:
    """Encode a post for NER to an instance for each of its windows, one after the other.

    The post of an instance has the window's words and the gold entities that belong to it.

    Args:
        post: The post.
        schema: Task, labels and sizes.
        tokenizer: Tokenizer of the text encoder.
        context: Subwords of the post's context.
    """
    (pieces,) = tokenizer.split([post.words])
    for window in split_windows(post, list(map(len, pieces)), tokenizer.text_room):
        text = tokenizer.encode(pieces[window.start : window.end], context)
        yield _entity_instance(window.cut_out(), text, schema, window)


def instance_posts(posts: Iterable[Post], task: Task) -> list[Post]:
    """Return a post for each instance of a task, with the labels of this instance alone.

    They are in the order of `encode_posts`, which may in addition split posts into windows.

    Args:
        posts: The posts.
        task: ``ner`` keeps the entities of a post, ``re`` one of its relations at a time.
    """
    if task == "ner":
        return [replace(post, relations=()) for post in posts]
    single: list[Post] = []
    for post in posts:
        for relation in post.relations:
            single.append(replace(post, entities=(), relations=(relation,)))
    return single


def draw_share(items: Sequence[_T], share: float, seed: int) -> list[_T]:
    """Draw a share of instances, or of what stands for them, and keep their order.

    Args:
        items: The items, of which at least one is drawn.
        share: Share to draw, above 0 and at most 1.
        seed: Seed of the draw.
    """
    count = max(1, round(share * len(items)))
    chosen = random.Random(seed).sample(range(len(items)), count)
    return [items[index] for index in sorted(chosen)]


def select_views(post: Post, schema: Schema) -> Views:
    """Return the first pictures and the first crops of a post as its views.

    Views that it lacks are None, after its pictures and after its crops.
    """
    pictures = fill_up(post.images, schema.num_images)
    return (*pictures, *fill_up(post.crops, schema.num_objects))


def fill_up(files: Sequence[_T], count: int) -> tuple[_T | None, ...]:
    """Return the first ``count`` items, followed by None for those that are missing.

    >>> fill_up(["a"], 2), fill_up(["a", "b", "c"], 2)
    (('a', None), ('a', 'b'))
    """
    selected = files[:count]
    return (*selected, *[None] * (count - len(selected)))


def sample_crops(instance: Instance, schema: Schema, seed: str) -> Instance:
    """Return an instance with crops drawn at random from all that it has.

    Args:
        instance: An instance whose views are the schema's number of pictures, and all crops.
        schema: Numbers of pictures and of crops to draw.
        seed: Seed of the draw.
    """
    pictures, crops = instance.views[: schema.num_images], instance.views[schema.num_images :]
    readable = [crop for crop in crops if crop is not None]
    count = min(schema.num_objects, len(readable))
    chosen = random.Random(seed).sample(readable, count)
    return replace(instance, views=(*pictures, *fill_up(chosen, schema.num_objects)))


def mask_views(instances: Iterable[Instance], unreadable: Mapping[Path, str]) -> None:
    """Replace the views whose files cannot be read by None.

    Args:
        instances: The instances, which are changed.
        unreadable: Reasons by file.
    """
    for instance in instances:
        instance.views = tuple(None if path in unreadable else path for path in instance.views)


def shuffle_pictures(posts: Sequence[Post], seed: int) -> list[Post]:
    """Give each post that has pictures the pictures and crops of another one, all together.

    Posts are ordered by their first image, images at random. Each post takes the pictures of the
    post that stands further ahead by the number of posts of the most frequent image. Hence no post
    keeps its first image, unless more than half of the posts have the same one.

    Args:
        posts: The posts. Those without pictures stay as they are.
        seed: Seed of the order of images.
    """
    groups: dict[object, list[int]] = {}
    for index, post in enumerate(posts):
        if post.images or post.crops:
            groups.setdefault(next(iter(post.images), post.crops), []).append(index)
    shuffled = list(posts)
    if not groups:
        return shuffled
    order: list[int] = []
    for group in random.Random(seed).sample(list(groups.values()), len(groups)):
        order += group
    shift = max(map(len, groups.values()))
    for receiver, giver in zip(order, order[shift:] + order[:shift], strict=True):
        given = posts[giver]
        shuffled[receiver] = replace(
            posts[receiver], image=given.image, more_images=given.more_images, crops=given.crops
        )
    return shuffled


def _entity_instance(
    post: Post, text: EncodedText, schema: Schema, window: TextWindow | None = None
) -> Instance:
    """Build the instance of a post or of its window for NER.

    Entities of types that the schema lacks are tagged as outside.
    """
    entities = post.entities if window is None else window.visible_entities()
    known = [entity for entity in entities if entity.type in schema.labels]
    names = tag_names(schema.labels, schema.tag_scheme)
    tags = entities_to_tags(known, len(text.word_starts), schema.tag_scheme)
    tag_ids = [names.index(tag) for tag in tags]
    views = select_views(post, schema)
    return Instance(post, None, text, tag_ids, UNKNOWN_LABEL, views, window)


def _relation_instance(
    post: Post, relation: Relation, text: EncodedText, schema: Schema
) -> Instance:
    """Build the instance of a relation for RE."""
    label = UNKNOWN_LABEL
    if relation.label in schema.labels:
        label = schema.labels.index(relation.label)
    views = select_views(post, schema)
    return Instance(post, relation, text, [], label, views)
