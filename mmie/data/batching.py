"""From posts to batches: instances that are encoded once, and the padding of a few of them to a `Batch`."""

import random
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from mmie.data.encoding import EncodedText, WordTokenizer
from mmie.data.pictures import PictureError, ResizeMode, load_picture, to_view
from mmie.data.sampler import Draw
from mmie.tags import entities_to_tags, tag_names
from mmie.types import MAX_BYTES, UNKNOWN_LABEL, Batch, Post, Relation, Schema


@dataclass(slots=True)
class Instance:
    """One thing to answer: a post (NER), or a post with one of its relations (RE).

    It holds lists, not tensors: a worker process that is started, not forked, would open a file for every tensor.

    Attributes:
        post: The post.
        relation: The relation, for RE.
        text: Its subwords.
        tags: Gold tag id of every word that was left in; empty for RE.
        label: Gold relation id, for RE.
        views: File of the global picture and of the crops; None where there is none that can be read.
    """

    post: Post
    relation: Relation | None
    text: EncodedText
    tags: list[int]
    label: int
    views: tuple[Path | None, ...]

    def __len__(self) -> int:
        return len(self.text)


def encode_posts(
    posts: Sequence[Post], schema: Schema, tokenizer: WordTokenizer, use_context: bool = False
) -> list[Instance]:
    """Instances of all posts, in order, each tokenised once; their views are the files that the posts name.

    Args:
        posts: The posts.
        schema: What the model expects.
        tokenizer: Its tokenizer.
        use_context: Put each post's context behind its words, as a second segment.
    """
    pieces = tokenizer.split([post.words for post in posts])
    contexts = tokenizer.split_contexts([post.context for post in posts]) if use_context else [[]] * len(posts)
    if schema.task == "re":
        return [
            _relation_instance(post, relation, tokenizer.encode_pair(words, relation, context), schema)
            for post, words, context in zip(posts, pieces, contexts, strict=True)
            for relation in post.relations
        ]
    tag_ids = {tag: place for place, tag in enumerate(tag_names(schema.labels, schema.tag_scheme))}
    return [
        _entity_instance(post, tokenizer.encode(words, context), schema, tag_ids)
        for post, words, context in zip(posts, pieces, contexts, strict=True)
    ]


def _entity_instance(post: Post, text: EncodedText, schema: Schema, tag_ids: Mapping[str, int]) -> Instance:
    """A post and its gold tags; entities of types that the model does not know are outside."""
    known = [entity for entity in post.entities if entity.type in schema.labels]
    tags = entities_to_tags(known, len(text.word_starts), schema.tag_scheme)
    views = _views(post.image, post.crops, schema.num_objects)
    return Instance(post, None, text, [tag_ids[tag] for tag in tags], UNKNOWN_LABEL, views)


def _relation_instance(post: Post, relation: Relation, text: EncodedText, schema: Schema) -> Instance:
    """A relation of a post and its gold label."""
    label = schema.labels.index(relation.label) if relation.label in schema.labels else UNKNOWN_LABEL
    return Instance(post, relation, text, [], label, _views(post.image, post.crops, schema.num_objects))


def _views(picture: Path | None, crops: Sequence[Path], num_objects: int) -> tuple[Path | None, ...]:
    """The picture and as many crops as a model sees, None for those that there are not."""
    seen = crops[:num_objects]
    return (picture, *seen, *[None] * (num_objects - len(seen)))


Lookup = Callable[[Sequence[Instance]], Tensor]
"""Gives the kept rows of a few instances, (batch, ...)."""


class Collator:
    """Pads instances to a `Batch` and reads their pictures.

    Attributes:
        reads_pixels: Whether batches have pixels.
        pixel_rows: Where to look views up, (batch, views, 3 * height * width) uint8; None decodes the files.
        lookups: Where to look `Batch.features` up, by name.

    Args:
        schema: What the model expects.
        pad_id: Id that fills up shorter posts.
        resize: How a picture becomes square.
        max_pixels: Larger pictures are not decoded.
    """

    def __init__(self, schema: Schema, pad_id: int, resize: ResizeMode = "crop", max_pixels: int = 50_000_000) -> None:
        self.schema = schema
        self.pad_id = pad_id
        self.resize = resize
        self.max_pixels = max_pixels
        self.reads_pixels = True
        self.pixel_rows: Lookup | None = None
        self.lookups: dict[str, Lookup] = {}

    def __call__(self, instances: Sequence[Instance], numbers: Sequence[int]) -> Batch:
        """The batch; ``numbers`` are the instances' places in their split, below 0 for uncounted copies."""
        is_pair = self.schema.task == "re"
        texts = [instance.text for instance in instances]
        pixels, view_mask = self._pixels(instances)
        input_ids, attention_mask, segment_ids = pad_tokens(texts, self.pad_id)  # (batch, tokens) each
        word_starts = _pad([text.word_starts for text in texts], -1)  # (batch, words)
        index = torch.tensor(numbers)  # (batch,)
        return Batch(
            ids=tuple(instance.post.id for instance in instances),
            counted=index >= 0,
            index=torch.where(index < 0, -1 - index, index),
            input_ids=input_ids,
            attention_mask=attention_mask,
            segment_ids=segment_ids,
            token_words=_pad([text.token_words for text in texts], -1),
            word_starts=word_starts.clamp(min=0),
            word_mask=word_starts >= 0,
            characters=self._characters(instances),
            view_mask=view_mask,
            pixels=pixels,
            entities=tuple(instance.post.entities for instance in instances),
            relations=tuple(instance.relation for instance in instances if instance.relation is not None),
            tags=None if is_pair else _pad([instance.tags for instance in instances]),
            markers=torch.tensor([text.markers for text in texts]) if is_pair else None,
            labels=torch.tensor([instance.label for instance in instances]) if is_pair else None,
            features={name: lookup(instances) for name, lookup in self.lookups.items()},
        )

    def _characters(self, instances: Sequence[Instance]) -> Tensor:
        """UTF-8 bytes plus 1 of the words that were left in, (batch, words, bytes); 0 on padding."""
        words = [instance.post.words[: len(instance.text.word_starts)] for instance in instances]
        spelled = [[bytes(word, "utf-8")[:MAX_BYTES] for word in row] for row in words]
        lengths = _pad([[len(word) for word in row] for row in spelled])  # (batch, words)
        is_byte = torch.arange(int(lengths.max())) < lengths.unsqueeze(2)  # (batch, words, bytes)
        values = np.frombuffer(b"".join(word for row in spelled for word in row), dtype=np.uint8)
        characters = torch.zeros(is_byte.shape, dtype=torch.long)
        characters[is_byte] = torch.from_numpy(values.astype(np.int64)) + 1
        return characters

    def _pixels(self, instances: Sequence[Instance]) -> tuple[Tensor | None, Tensor]:
        """Views (batch, views, 3, height, width) uint8, or None if there are none, and which there are."""
        size = self.schema.image_size
        named = torch.tensor([[path is not None for path in instance.views] for instance in instances])
        if not self.reads_pixels or not named.any():
            return None, named
        if self.pixel_rows is not None:
            return self.pixel_rows(instances).unflatten(-1, (3, size, size)), named
        view_mask = torch.zeros(len(instances), 1 + self.schema.num_objects, dtype=torch.bool)
        pixels: Tensor | None = None
        for row, instance in enumerate(instances):
            for place, path in enumerate(instance.views):
                view = None if path is None else self._read(path)
                if view is not None:
                    if pixels is None:
                        pixels = torch.zeros(*view_mask.shape, 3, size, size, dtype=torch.uint8)
                    pixels[row, place] = view
                    view_mask[row, place] = True
        return pixels, view_mask

    def _read(self, path: Path) -> Tensor | None:
        """One view, or None, with a warning, if the file went bad after it was looked at."""
        try:
            return to_view(load_picture(path, self.max_pixels), self.schema.image_size, self.resize)
        except PictureError as error:
            warnings.warn(f"{path}: {error}; the view is masked", stacklevel=2)
            return None


class InstanceDataset(Dataset[Batch]):
    """Instances of a split; an item is the batch of the numbers it is asked for, in an epoch.

    Args:
        instances: The split.
        collator: Makes batches of them.
        crop_seed: Draw each instance's crops at random from all of its own, anew in every epoch; None takes the first.
    """

    def __init__(self, instances: Sequence[Instance], collator: Collator, crop_seed: int | None = None) -> None:
        self.instances = instances
        self.collator = collator
        self.crop_seed = crop_seed

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, draw: Draw) -> Batch:
        epoch, numbers = draw
        return self.collator([self._instance(-1 - n if n < 0 else n, epoch) for n in numbers], numbers)

    def _instance(self, number: int, epoch: int) -> Instance:
        """An instance with the views that it shows in an epoch."""
        instance = self.instances[number]
        if self.crop_seed is None:
            return instance
        picture, *crops = instance.views
        readable = [crop for crop in crops if crop is not None]
        count = min(self.collator.schema.num_objects, len(readable))
        chosen = random.Random(f"{self.crop_seed} {epoch} {number}").sample(readable, count)
        return replace(instance, views=_views(picture, chosen, self.collator.schema.num_objects))


def mask_views(instances: Iterable[Instance], unreadable: Mapping[Path, str]) -> None:
    """Take out the views whose files cannot be read."""
    for instance in instances:
        instance.views = tuple(None if path is None or path in unreadable else path for path in instance.views)


def shuffle_pictures(posts: Sequence[Post], seed: int) -> list[Post]:
    """The posts, each that has pictures with those of another one.

    Posts of one image stand together in a random order of images; the order is turned by the largest such group, so
    that no post keeps its image unless more than half of the posts have it.
    """
    groups: dict[object, list[int]] = {}
    for place, post in enumerate(posts):
        if post.image or post.crops:
            groups.setdefault(post.image or post.crops, []).append(place)
    shuffled = list(posts)
    if groups:
        order = [place for group in random.Random(seed).sample([*groups.values()], len(groups)) for place in group]
        turn = max(map(len, groups.values()))
        for place, giver in zip(order, [*order[turn:], *order[:turn]], strict=True):
            shuffled[place] = replace(posts[place], image=posts[giver].image, crops=posts[giver].crops)
    return shuffled


def pad_tokens(texts: Sequence[EncodedText], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask (bool) and segments of texts, (texts, longest) each."""
    ids = _pad([text.input_ids for text in texts], pad_id)
    lengths = torch.tensor([len(text) for text in texts]).unsqueeze(1)  # (texts, 1)
    return ids, torch.arange(ids.shape[1]) < lengths, _pad([text.segment_ids for text in texts])


def _pad(rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
    """(batch, longest) filled up with ``value``."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=value)
