"""Batches: padding of instances to tensors, with their pictures."""

import warnings
from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from mmie.data.encoding import EncodedText
from mmie.data.instances import Instance, sample_crops
from mmie.data.pictures import ImageTransform, PictureError
from mmie.data.sampler import Draw
from mmie.types import MAX_BYTES, Batch, Schema


class FeatureProvider(Protocol):
    """Source of cached features and pixels for the instances of a split."""

    @property
    def reads_pixels(self) -> bool:
        """Whether batches hold pixels."""

    def pixels(self, instances: Sequence[Instance], transform: ImageTransform) -> Tensor | None:
        """Return views of instances, (batch, views, 3, size, size) uint8, or None if not cached."""

    def attach(self, batch: Batch, instances: Sequence[Instance]) -> Batch:
        """Add the cached features of the batch's instances."""


class Collator:
    """Padding of instances to a `Batch` with their pictures.

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

    def __call__(
        self,
        instances: Sequence[Instance],
        indices: Sequence[int],
        counted: Sequence[bool] | None = None,
    ) -> Batch:
        """Pad instances to a batch.

        Args:
            instances: The instances.
            indices: Their indices in the split.
            counted: False for copies that must not count in scores; by default all count.
        """
        if counted is None:
            counted = [True] * len(instances)
        posts = [instance.post for instance in instances]
        texts = [instance.text for instance in instances]
        input_ids, attention_mask, token_type_ids = pad_tokens(texts, self.pad_id)
        word_starts = _pad([text.word_starts for text in texts], -1)  # (batch, words)
        pixels, view_mask = self._load_views(instances)
        batch = Batch(
            ids=tuple(post.id for post in posts),
            counted=torch.tensor(counted),  # (batch,)
            index=torch.tensor(indices),  # (batch,)
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            token_words=_pad([text.token_words for text in texts], -1),  # (batch, tokens)
            word_starts=word_starts.clamp(min=0),
            word_mask=word_starts >= 0,
            characters=_characters(instances),
            view_mask=view_mask,
            pixels=pixels,
            entities=tuple(post.entities for post in posts),
            **self._gold(instances),
        )
        if self.provider is not None:
            return self.provider.attach(batch, instances)
        return batch

    def _gold(self, instances: Sequence[Instance]) -> dict[str, Any]:
        """Return the fields of a batch that depend on the task: tags, or markers and labels."""
        if self.schema.task == "ner":
            tags = _pad([instance.tags for instance in instances])  # (batch, words)
            return {"tags": tags, **_window_places(instances)}
        return {
            "relations": tuple(instance.relation for instance in instances),
            "markers": torch.tensor([instance.text.markers for instance in instances]),
            "labels": torch.tensor([instance.label for instance in instances]),
        }

    def _load_views(self, instances: Sequence[Instance]) -> tuple[Tensor | None, Tensor]:
        """Load the views of instances from the provider or from their files.

        Returns:
            Views (batch, views, 3, size, size) uint8, or None if there are none or the provider
            reads no pixels; and the mask of readable views (batch, views).
        """
        rows: list[list[bool]] = []
        for instance in instances:
            rows.append([path is not None for path in instance.views])
        view_mask = torch.tensor(rows)  # (batch, views)
        if not view_mask.any():
            return None, view_mask
        if self.provider is not None:
            if not self.provider.reads_pixels:
                return None, view_mask
            cached = self.provider.pixels(instances, self.transform)
            if cached is not None:
                return cached, view_mask
        return self._decode_views(instances, view_mask)

    def _decode_views(
        self, instances: Sequence[Instance], view_mask: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """Decode the picture files of instances.

        A view whose file became unreadable since set-up is masked.

        Args:
            instances: The instances.
            view_mask: (batch, views) mask of their views.

        Returns:
            Views (batch, views, 3, size, size) uint8, or None if none can be read; and the mask of
            readable views (batch, views).
        """
        size = self.transform.size
        pixels = torch.zeros(*view_mask.shape, 3, size, size, dtype=torch.uint8)
        for row, column in view_mask.nonzero().tolist():
            path = instances[row].views[column]
            assert path is not None
            try:
                pixels[row, column] = self.transform(path)
            except PictureError as error:
                warnings.warn(f"{path}: {error}; the view is masked", stacklevel=2)
                view_mask[row, column] = False
        if not view_mask.any():
            return None, view_mask
        return pixels, view_mask


class InstanceDataset(Dataset[Batch]):
    """Data set of a split's instances whose items are the batches of draws.

    Args:
        instances: The split.
        collator: Pads instances to batches.
        crop_seed: Seed for drawing each instance's crops at random from all that it has, anew in
            every epoch; None takes the first crops.
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
        instances = [self._instance(index, draw.epoch) for index in draw.indices]
        return self.collator(instances, draw.indices, draw.counted)

    def _instance(self, index: int, epoch: int) -> Instance:
        """Return an instance with its views in an epoch."""
        instance = self.instances[index]
        if self.crop_seed is None:
            return instance
        seed = f"{self.crop_seed} {epoch} {index}"
        return sample_crops(instance, self.collator.schema, seed)


def pad_tokens(texts: Sequence[EncodedText], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pad the subwords of texts.

    Args:
        texts: The texts.
        pad_id: Id that pads shorter texts.

    Returns:
        Ids, mask (bool) and token types, (batch, tokens) each.
    """
    input_ids = _pad([text.input_ids for text in texts], pad_id)  # (batch, tokens)
    token_type_ids = _pad([text.token_type_ids for text in texts])  # (batch, tokens)
    lengths = torch.tensor(list(map(len, texts))).unsqueeze(1)  # (batch, 1)
    attention_mask = torch.arange(input_ids.shape[1]) < lengths  # (batch, tokens)
    return input_ids, attention_mask, token_type_ids


def _window_places(instances: Sequence[Instance]) -> dict[str, Tensor]:
    """Return ``cores`` and ``origins`` of a batch, (batch, 2) each, or nothing without windows."""
    if all(instance.window is None for instance in instances):
        return {}
    cores, origins = [], []
    for instance in instances:
        window, core, origin = instance.window, (0, len(instance.post.words)), (0, 0)
        if window is not None:
            core = (window.core_start - window.start, window.core_end - window.start)
            origin = (window.number, window.start)
        cores.append(core)
        origins.append(origin)
    return {"cores": torch.tensor(cores), "origins": torch.tensor(origins)}


def _characters(instances: Sequence[Instance]) -> Tensor:
    """Return the UTF-8 bytes of the words that were kept, (batch, words, bytes).

    Each byte is increased by 1, and 0 is padding.
    """
    rows: list[list[bytes]] = []
    for instance in instances:
        words = instance.post.words[: len(instance.text.word_starts)]
        rows.append([word.encode()[:MAX_BYTES] for word in words])
    lengths = _pad([list(map(len, row)) for row in rows])  # (batch, words)
    is_byte = torch.arange(int(lengths.max())) < lengths.unsqueeze(2)  # (batch, words, bytes)
    values = np.frombuffer(b"".join(chain.from_iterable(rows)), dtype=np.uint8)
    characters = torch.zeros(is_byte.shape, dtype=torch.long)  # (batch, words, bytes)
    characters[is_byte] = torch.from_numpy(values.astype(np.int64)) + 1
    return characters


def _pad(rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
    """Pad rows with ``value`` to the longest, (batch, longest) long."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=value)
