"""From posts to batches: instances that are encoded once, and the padding of a few of them to a `Batch`."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from mmie.data.encoding import EncodedText, WordTokenizer
from mmie.data.pictures import PictureError, ResizeMode, load_picture, to_view
from mmie.tags import entities_to_tags, tag_names
from mmie.types import UNKNOWN_LABEL, Batch, Post, Relation, Schema


@dataclass(slots=True)
class Instance:
    """One thing to answer: a post (NER), or a post with one of its relations (RE).

    Attributes:
        post: The post.
        relation: The relation, for RE.
        input_ids: (tokens,)
        text_mask: (tokens,) bool
        word_starts: (words,)
        tags: (words,) gold tag ids; empty for RE.
        markers: (2,) positions of the opening markers; empty for NER.
        label: Gold relation id, for RE.
        views: File of the global picture and of the crops; None where there is none that can be read.
    """

    post: Post
    relation: Relation | None
    input_ids: Tensor
    text_mask: Tensor
    word_starts: Tensor
    tags: Tensor
    markers: Tensor
    label: int
    views: tuple[Path | None, ...]

    def __len__(self) -> int:
        return len(self.input_ids)


def encode_posts(posts: Sequence[Post], schema: Schema, tokenizer: WordTokenizer) -> list[Instance]:
    """Instances of all posts, in order, each tokenised once; their views are the files that the posts name."""
    pieces = tokenizer.split([post.words for post in posts])
    if schema.task == "re":
        pairs = [(post, split, relation) for post, split in zip(posts, pieces, strict=True) for relation in post.relations]
        texts = [tokenizer.encode_pair(split, relation) for _, split, relation in pairs]
        label_ids = {label: place for place, label in enumerate(schema.labels)}
        return [
            _instance(post, relation, text, [], label_ids.get(relation.label, UNKNOWN_LABEL), schema.num_objects)
            for (post, _, relation), text in zip(pairs, texts, strict=True)
        ]
    tag_ids = {tag: place for place, tag in enumerate(tag_names(schema.labels, schema.tag_scheme))}
    instances = []
    for post, split in zip(posts, pieces, strict=True):
        text = tokenizer.encode(split)
        known = [entity for entity in post.entities if entity.type in schema.labels]
        tags = [tag_ids[tag] for tag in entities_to_tags(known, len(text.word_starts), schema.tag_scheme)]
        instances.append(_instance(post, None, text, tags, UNKNOWN_LABEL, schema.num_objects))
    return instances


def _instance(
    post: Post, relation: Relation | None, text: EncodedText, tags: list[int], label: int, num_objects: int
) -> Instance:
    """Lists to tensors."""
    crops = [*post.crops[:num_objects], *([None] * (num_objects - len(post.crops)))]
    return Instance(
        post,
        relation,
        torch.tensor(text.input_ids),
        torch.tensor(text.text_mask),
        torch.tensor(text.word_starts),
        torch.tensor(tags, dtype=torch.long),
        torch.tensor(text.markers, dtype=torch.long),
        label,
        (post.image, *crops),
    )


class Collator:
    """Pads instances to a `Batch` and reads their pictures.

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

    def __call__(self, instances: Sequence[Instance], numbers: Sequence[int]) -> Batch:
        """The batch; ``numbers`` are the instances' places in their split, below 0 for uncounted copies."""
        is_pair = self.schema.task == "re"
        pixels, view_mask = self._pixels(instances)
        input_ids = _pad([instance.input_ids for instance in instances], self.pad_id)
        lengths = torch.tensor([len(instance) for instance in instances])
        words = torch.tensor([len(instance.word_starts) for instance in instances])
        word_starts = _pad([instance.word_starts for instance in instances])
        index = torch.tensor(numbers)
        return Batch(
            ids=tuple(instance.post.id for instance in instances),
            counted=index >= 0,
            index=torch.where(index < 0, -1 - index, index),
            input_ids=input_ids,
            attention_mask=torch.arange(input_ids.shape[1]) < lengths.unsqueeze(1),
            segment_ids=torch.zeros_like(input_ids),
            text_mask=_pad([instance.text_mask for instance in instances]),
            word_starts=word_starts,
            word_mask=torch.arange(word_starts.shape[1]) < words.unsqueeze(1),
            view_mask=view_mask,
            pixels=pixels,
            entities=tuple(instance.post.entities for instance in instances),
            relations=tuple(instance.relation for instance in instances if instance.relation is not None),
            tags=None if is_pair else _pad([instance.tags for instance in instances]),
            markers=torch.stack([instance.markers for instance in instances]) if is_pair else None,
            labels=torch.tensor([instance.label for instance in instances]) if is_pair else None,
        )

    def _pixels(self, instances: Sequence[Instance]) -> tuple[Tensor | None, Tensor]:
        """Views (batch, views, 3, height, width) uint8, or None if there are none, and which there are."""
        size = self.schema.image_size
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
    """Instances of a split; an item is the batch of the numbers it is asked for."""

    def __init__(self, instances: Sequence[Instance], collator: Collator) -> None:
        self.instances = instances
        self.collator = collator

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, numbers: Sequence[int]) -> Batch:
        return self.collator([self.instances[-1 - n if n < 0 else n] for n in numbers], numbers)


def mask_views(instances: Iterable[Instance], unreadable: Mapping[Path, str]) -> None:
    """Take out the views whose files cannot be read."""
    for instance in instances:
        instance.views = tuple(None if path is None or path in unreadable else path for path in instance.views)


def _pad(rows: Sequence[Tensor], value: int = 0) -> Tensor:
    """(batch, longest) filled up with ``value``."""
    return pad_sequence(list(rows), batch_first=True, padding_value=value)
