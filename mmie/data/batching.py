"""From posts to batches: instances that are encoded once, and the padding of a few of them to a `Batch`."""

import random
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from mmie.data.encoding import EncodedText, WordTokenizer
from mmie.data.pictures import ImageTransform, PictureError
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
    contexts = (
        tokenizer.split_contexts([post.context for post in posts])
        if use_context
        else [[]] * len(posts)
    )
    if schema.task == "re":
        return [
            _relation_instance(
                post, relation, tokenizer.encode_pair(words, relation, context), schema
            )
            for post, words, context in zip(posts, pieces, contexts, strict=True)
            for relation in post.relations
        ]
    tag_ids = {tag: place for place, tag in enumerate(tag_names(schema.labels, schema.tag_scheme))}
    return [
        _entity_instance(post, tokenizer.encode(words, context), schema, tag_ids)
        for post, words, context in zip(posts, pieces, contexts, strict=True)
    ]


def _entity_instance(
    post: Post, text: EncodedText, schema: Schema, tag_ids: Mapping[str, int]
) -> Instance:
    """A post and its gold tags; entities of types that the model does not know are outside."""
    known = [entity for entity in post.entities if entity.type in schema.labels]
    tags = entities_to_tags(known, len(text.word_starts), schema.tag_scheme)
    views = _views(post.image, post.crops, schema.num_objects)
    return Instance(post, None, text, [tag_ids[tag] for tag in tags], UNKNOWN_LABEL, views)


def _relation_instance(
    post: Post, relation: Relation, text: EncodedText, schema: Schema
) -> Instance:
    """A relation of a post and its gold label."""
    label = (
        schema.labels.index(relation.label) if relation.label in schema.labels else UNKNOWN_LABEL
    )
    return Instance(
        post, relation, text, [], label, _views(post.image, post.crops, schema.num_objects)
    )


def _views(
    picture: Path | None, crops: Sequence[Path], num_objects: int
) -> tuple[Path | None, ...]:
    """The picture and as many crops as a model sees, None for those that there are not."""
    seen = crops[:num_objects]
    return (picture, *seen, *[None] * (num_objects - len(seen)))


class FeatureProvider(Protocol):
    """Source of cached features and pixels for the instances of a split."""

    @property
    def reads_pixels(self) -> bool:
        """Whether batches hold pixels."""

    def pixels(self, instances: Sequence[Instance], transform: ImageTransform) -> Tensor | None:
        """Return views of instances, (batch, views, 3, size, size) uint8; None if not cached."""

    def attach(self, batch: Batch, instances: Sequence[Instance]) -> Batch:
        """Add the cached features of the batch's instances."""


class Collator:
    """Pads instances to a `Batch` and reads their pictures.

    Args:
        schema: Task, labels and sizes.
        pad_id: Id that pads shorter posts.
        transform: Conversion of pictures to views; by default one of the schema's size.
        provider: Source of cached features and pixels; None decodes the picture files.
    """

    def __init__(
        self,
        schema: Schema,
        pad_id: int,
        transform: ImageTransform | None = None,
        provider: FeatureProvider | None = None,
    ) -> None:
        self.schema = schema
        self.pad_id = pad_id
        self.transform = transform or ImageTransform(schema.image_size)
        self.provider = provider

    def __call__(self, instances: Sequence[Instance], numbers: Sequence[int]) -> Batch:
        """Pad instances to a batch.

        Args:
            instances: The instances.
            numbers: Their places in the split; below 0 for copies that do not count.
        """
        texts = [instance.text for instance in instances]
        input_ids, attention_mask, token_type_ids = pad_tokens(texts, self.pad_id)
        word_starts = _pad([text.word_starts for text in texts], -1)  # (batch, words)
        places = torch.tensor(numbers)  # (batch,)
        pixels, view_mask = self._pixels(instances)
        batch = Batch(
            ids=tuple(instance.post.id for instance in instances),
            counted=places >= 0,
            index=torch.where(places < 0, -1 - places, places),
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            token_words=_pad([text.token_words for text in texts], -1),
            word_starts=word_starts.clamp(min=0),
            word_mask=word_starts >= 0,
            characters=_characters(instances),
            view_mask=view_mask,
            pixels=pixels,
            entities=tuple(instance.post.entities for instance in instances),
            **self._gold(instances),
        )
        return batch if self.provider is None else self.provider.attach(batch, instances)

    def _gold(self, instances: Sequence[Instance]) -> dict[str, Any]:
        """Return the fields of a batch that the task decides: gold tags, or markers and labels."""
        if self.schema.task == "ner":
            return {"tags": _pad([instance.tags for instance in instances])}
        relations = (instance.relation for instance in instances)
        return {
            "relations": tuple(relation for relation in relations if relation is not None),
            "markers": torch.tensor([instance.text.markers for instance in instances]),
            "labels": torch.tensor([instance.label for instance in instances]),
        }

    def _pixels(self, instances: Sequence[Instance]) -> tuple[Tensor | None, Tensor]:
        """Read the views of instances.

        Returns:
            Views (batch, views, 3, size, size) uint8, or None if there are none; and the mask of
            readable views (batch, views).
        """
        paths = [instance.views for instance in instances]
        view_mask = torch.tensor([[path is not None for path in row] for row in paths])
        if self.provider is not None and not self.provider.reads_pixels:
            return None, view_mask
        if not view_mask.any():
            return None, view_mask
        if self.provider is not None:
            cached = self.provider.pixels(instances, self.transform)
            if cached is not None:
                return cached, view_mask
        return self._decode(paths, view_mask)

    def _decode(
        self, paths: Sequence[Sequence[Path | None]], view_mask: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """Decode picture files; a view whose file went bad since set-up is masked."""
        size = self.transform.size
        pixels = torch.zeros(*view_mask.shape, 3, size, size, dtype=torch.uint8)
        for row, column in view_mask.nonzero().tolist():
            path = paths[row][column]
            assert path is not None
            try:
                pixels[row, column] = self.transform(path)
            except PictureError as error:
                warnings.warn(f"{path}: {error}; the view is masked", stacklevel=2)
                view_mask[row, column] = False
        return (pixels if view_mask.any() else None), view_mask


def _characters(instances: Sequence[Instance]) -> Tensor:
    """Return UTF-8 bytes plus 1 of the words left in, (batch, words, bytes); 0 on padding."""
    spelled = [
        [
            word.encode()[:MAX_BYTES]
            for word in instance.post.words[: len(instance.text.word_starts)]
        ]
        for instance in instances
    ]
    lengths = _pad([[len(word) for word in row] for row in spelled])  # (batch, words)
    is_byte = torch.arange(int(lengths.max())) < lengths.unsqueeze(2)  # (batch, words, bytes)
    values = np.frombuffer(b"".join(chain.from_iterable(spelled)), dtype=np.uint8)
    characters = torch.zeros(is_byte.shape, dtype=torch.long)
    characters[is_byte] = torch.from_numpy(values.astype(np.int64)) + 1
    return characters


class InstanceDataset(Dataset[Batch]):
    """Instances of a split; an item is the batch of the numbers it is asked for, in an epoch.

    Args:
        instances: The split.
        collator: Makes batches of them.
        crop_seed: Draw each instance's crops at random from all of its own, anew in every epoch; None takes the first.
    """

    def __init__(
        self, instances: Sequence[Instance], collator: Collator, crop_seed: int | None = None
    ) -> None:
        self.instances = instances
        self.collator = collator
        self.crop_seed = crop_seed

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, draw: Draw) -> Batch:
        epoch, numbers = draw
        return self.collator(
            [self._instance(-1 - n if n < 0 else n, epoch) for n in numbers], numbers
        )

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
        instance.views = tuple(
            None if path is None or path in unreadable else path for path in instance.views
        )


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
        order = [
            place
            for group in random.Random(seed).sample([*groups.values()], len(groups))
            for place in group
        ]
        turn = max(map(len, groups.values()))
        for place, giver in zip(order, [*order[turn:], *order[:turn]], strict=True):
            shuffled[place] = replace(
                posts[place], image=posts[giver].image, crops=posts[giver].crops
            )
    return shuffled


def pad_tokens(texts: Sequence[EncodedText], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask (bool) and segments of texts, (texts, longest) each."""
    ids = _pad([text.input_ids for text in texts], pad_id)
    lengths = torch.tensor([len(text) for text in texts]).unsqueeze(1)  # (texts, 1)
    return ids, torch.arange(ids.shape[1]) < lengths, _pad([text.token_type_ids for text in texts])


def _pad(rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
    """(batch, longest) filled up with ``value``."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=value)
