"""Prediction for posts: batches of similar length, each picture through a backbone once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

from mmie.blocks.features import FeatureSpec, attach_features
from mmie.checkpoints import Checkpoint
from mmie.checkpoints.folder import building
from mmie.data.batching import Collator
from mmie.data.encoding import WordTokenizer
from mmie.data.instances import Instance, encode_posts
from mmie.data.pictures import ImageTransform
from mmie.inference.reading import ReadPost, ViewFormat
from mmie.methods import ExtractionModule
from mmie.methods.loading import build_method
from mmie.types import Batch, Post, Prediction

Precision = Literal["auto", "float32", "bfloat16"]
WindowFeatures = dict[str, Tensor]
"""Features of a window's views, (readable views, width), by what they depend on beside the view.

Two methods with the same frozen backbone share them.
"""


@dataclass(slots=True)
class WindowViews:
    """The views of a window of posts in one format, without gaps.

    Attributes:
        pixels: (readable views, 3, size, size) uint8.
        rows: (posts, views) row of each view in ``pixels``; -1 for a view that cannot be read.
    """

    pixels: Tensor
    rows: Tensor

    @classmethod
    def of(cls, reads: Sequence[ReadPost], form: ViewFormat) -> Self:
        """Collect the views of posts in a format."""
        views = [read.views[form] for read in reads]
        readable = torch.tensor([[view is not None for view in row] for row in views])
        ranks = readable.flatten().cumsum(0).view_as(readable) - 1  # (posts, views)
        size = form.transform.size
        pixels = torch.zeros(int(readable.sum()), 3, size, size, dtype=torch.uint8)
        present = (view for row in views for view in row if view is not None)
        for rank, view in enumerate(present):
            pixels[rank] = view
        return cls(pixels, torch.where(readable, ranks, -1))

    def mask(self, posts: Sequence[int]) -> Tensor:
        """Return the mask of readable views of some posts, (posts, views) bool."""
        return self.rows[posts] >= 0

    def spread_pixels(self, posts: Sequence[int]) -> Tensor:
        """Return the pixels of some posts, (posts, views, 3, size, size), 0 if unreadable."""
        blank = self.pixels.new_zeros(1, *self.pixels.shape[1:])
        return torch.cat([self.pixels, blank])[self.rows[posts]]  # -1 is the last row


class Predictor:
    """A trained method with its tokenizer and image transform.

    Args:
        method: The method.
        tokenizer: Its tokenizer.
        transform: Conversion of pictures to views.
        use_context: Whether it reads the posts' contexts.
        device: Where to compute.
        precision: ``auto`` is bfloat16 on a GPU and float32 elsewhere.
        batch_size: Posts, or pairs of entities, that are computed together.
    """

    def __init__(
        self,
        method: ExtractionModule,
        tokenizer: WordTokenizer,
        transform: ImageTransform,
        use_context: bool,
        device: torch.device,
        precision: Precision = "auto",
        batch_size: int = 32,
    ) -> None:
        self.method = method.to(device).eval().requires_grad_(False)
        self.schema = method.schema
        self.tokenizer = tokenizer
        self.use_context = use_context
        self.batch_size = batch_size
        on_gpu = device.type == "cuda"
        self.half = precision == "bfloat16" or (precision == "auto" and on_gpu)
        self._specs = [
            spec for spec in method.feature_specs() if spec.is_visual and not spec.training_only
        ]
        num_views = self.schema.num_views if method.uses_images else 0
        self.format = ViewFormat(transform, num_views, self.schema.num_images)
        self._collator = Collator(self.schema, tokenizer.pad_id)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        device: torch.device,
        precision: Precision = "auto",
        batch_size: int = 32,
    ) -> Self:
        """Build the method of a checkpoint.

        Raises:
            CheckpointError: The method cannot be built, or the checkpoint says nothing of its data.
        """
        data = checkpoint.data_state()
        with building(checkpoint.source):
            method = build_method(checkpoint)
            tokenizer = WordTokenizer.from_files(data.tokenizer, method.schema.max_tokens)
            return cls(
                method, tokenizer, data.transform, data.use_context, device, precision, batch_size
            )

    def predict(
        self, reads: Sequence[ReadPost], features: WindowFeatures
    ) -> list[list[Prediction]]:
        """Predict for a window of posts.

        Args:
            reads: The posts.
            features: Features of the window's views that another method has computed; this one's
                are added.

        Returns:
            For each post one prediction (NER; none without words), or one for each of its relations
            (RE).
        """
        instances, owners = self._encode(reads)
        if not self.method.task.asks_pairs:
            for instance, owner in zip(instances, owners, strict=True):
                _note_unread(instance, reads[owner].problems)
        views = self._collect_views(reads, owners, features)
        predictions: dict[int, Prediction] = {}
        for chunk in self._chunks(instances):
            chosen = [instances[number] for number in chunk]
            batch = self._batch(chosen, [owners[number] for number in chunk], views, features)
            with torch.inference_mode(), self._autocast():
                computed = self.method.predict(batch.to(self.method.device))
            predictions.update(zip(chunk, computed, strict=True))
        by_post: list[list[Prediction]] = [[] for _ in reads]
        for number, owner in enumerate(owners):
            by_post[owner].append(predictions[number])
        return by_post

    def diagnose(self, reads: Sequence[ReadPost]) -> dict[str, Tensor]:
        """Explain the predictions for a few posts, in one batch: see `ExtractionModule.diagnose`.

        Args:
            reads: The posts.

        Returns:
            Tensors on the CPU with a row for each post (NER) or for each relation (RE).
        """
        instances, owners = self._encode(reads)
        if not instances:
            return {}
        features: WindowFeatures = {}
        views = self._collect_views(reads, owners, features)
        with self._autocast():
            batch = self._batch(instances, owners, views, features).to(self.method.device)
            diagnosis = self.method.diagnose(batch)
        return {name: rows.float().cpu() for name, rows in diagnosis.items()}

    def _encode(self, reads: Sequence[ReadPost]) -> tuple[list[Instance], list[int]]:
        """Encode what is asked of posts that have words.

        Returns:
            The instances, and for each the index of its post.
        """
        posts: list[Post] = []
        owners: list[int] = []
        for index, read in enumerate(reads):
            if read.post.words:
                posts.append(read.post)
                owners += [index] * (len(read.post.relations) if self.method.task.asks_pairs else 1)
        instances = encode_posts(posts, self.schema, self.tokenizer, self.use_context)
        return instances, owners

    def _collect_views(
        self, reads: Sequence[ReadPost], owners: Sequence[int], features: WindowFeatures
    ) -> WindowViews | None:
        """Collect the views of posts and compute the features of those that are asked about.

        Returns:
            The views; None if the method uses no images or nothing is asked.
        """
        if not self.format.num_views or not owners:
            return None
        views = WindowViews.of(reads, self.format)
        needed = views.rows[sorted(set(owners))].flatten()
        needed = needed[needed >= 0]  # (needed views,)
        if len(needed):
            for spec in self._specs:
                key = self._feature_key(spec)
                if key not in features:
                    features[key] = self._compute_features(spec, views.pixels, needed)
        return views

    def _feature_key(self, spec: FeatureSpec) -> str:
        """Return a key of everything that a row depends on beside its view."""
        identity = json.dumps([spec.source, dict(spec.identity)], sort_keys=True, default=str)
        return f"{identity} {self.format}"

    def _chunks(self, instances: Sequence[Instance]) -> Iterator[list[int]]:
        """Yield indices of instances in batches of like length, the longest first."""
        order = sorted(range(len(instances)), key=lambda index: -len(instances[index]))
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    def _batch(
        self,
        instances: Sequence[Instance],
        owners: list[int],
        views: WindowViews | None,
        features: Mapping[str, Tensor],
    ) -> Batch:
        """Pad instances to a batch with the pixels and features of their posts' views."""
        batch = self._collator(instances, range(len(instances)))
        if views is None or not views.mask(owners).any():
            return batch
        batch = replace(batch, view_mask=views.mask(owners))  # (batch, views)
        if self.method.reads_pixels:
            batch.pixels = views.spread_pixels(owners)
        rows = views.rows[owners]  # (batch, views)

        def provide(spec: FeatureSpec) -> Tensor:
            mask = spec.view_mask(batch)
            return features[self._feature_key(spec)][rows[:, : mask.shape[1]][mask]]

        return attach_features(batch, self._specs, provide)

    @torch.inference_mode()
    def _compute_features(self, spec: FeatureSpec, pixels: Tensor, needed: Tensor) -> Tensor:
        """Compute the features of some views.

        Args:
            spec: The features.
            pixels: (readable views, 3, size, size) uint8.
            needed: (needed views,) indices of the views to compute.

        Returns:
            (readable views, width) on the CPU, 0 for the views that are not needed.
        """
        device = self.method.device
        parts = [spec.compute(pixels[some].to(device)) for some in needed.split(self.batch_size)]
        computed = torch.cat(parts).cpu()  # (needed views, width)
        rows = computed.new_zeros(len(pixels), computed.shape[1])
        return rows.index_copy(0, needed, computed)

    def _autocast(self) -> AbstractContextManager[None]:
        """Return the context of the precision to compute in."""
        return torch.autocast(self.method.device.type, torch.bfloat16, enabled=self.half)


def _note_unread(instance: Instance, problems: list[str]) -> None:
    """Add a problem if the end of a post's text is cut off."""
    num_read, num_words = instance.text.num_words, len(instance.post.words)
    if num_read < num_words:
        problems.append(f"text: only the first {num_read} of {num_words} words were read")
