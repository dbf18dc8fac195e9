"""Prediction for posts: batches of similar length, each picture through a backbone once."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, Self

import torch
from torch import Tensor

from mmie.blocks.features import FeatureSpec, attach_features
from mmie.checkpoints import Checkpoint
from mmie.checkpoints.folder import building
from mmie.data.batching import Collator
from mmie.data.encoding import WordTokenizer
from mmie.data.instances import Instance
from mmie.data.long_posts import LongPosts, TextWindow, merge_windows
from mmie.data.pictures import ImageTransform
from mmie.inference.asking import Asked, PairTexts, PostEncoder
from mmie.inference.reading import ReadPost, ViewFormat
from mmie.inference.relation_types import RelationTypes
from mmie.methods import ExtractionModule
from mmie.methods.loading import build_method
from mmie.types import NO_RELATION, Batch, Prediction, Relation

Precision = Literal["auto", "float32", "bfloat16"]
WindowFeatures = dict[str, Tensor]
"""Features of a window's views, (distinct views, width), by what they depend on beside the view.

Two methods with the same frozen backbone share them.
"""
_GROUP = 8
"""Batches of windows of long posts that are encoded at a time."""


@dataclass(slots=True)
class WindowViews:
    """The distinct views of a window of posts in one format.

    Attributes:
        pixels: (distinct views, 3, size, size) uint8.
        rows: (posts, views) row of each view in ``pixels``; -1 for a view that cannot be read.
    """

    pixels: Tensor
    rows: Tensor

    @classmethod
    def of(cls, reads: Sequence[ReadPost], form: ViewFormat) -> Self:
        """Collect the distinct views of posts in a format."""
        rows: list[list[int]] = []
        distinct: dict[bytes, int] = {}
        pixels: list[Tensor] = []
        for read in reads:
            rows.append([])
            for view in read.views[form]:
                if view is None:
                    rows[-1].append(-1)
                    continue
                content = hashlib.blake2b(view.numpy().data, digest_size=20).digest()
                if content not in distinct:
                    distinct[content] = len(pixels)
                    pixels.append(view)
                rows[-1].append(distinct[content])
        size = form.transform.size
        empty = torch.zeros(0, 3, size, size, dtype=torch.uint8)
        return cls(torch.stack(pixels) if pixels else empty, torch.tensor(rows))

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

    Attributes:
        predict_batch: Predicts for a batch, as `ExtractionModule.predict` does.
            Another engine replaces it.
        specs: Visual features that are computed once for each view of a window.
        reads_pixels: Whether ``predict_batch`` reads pixels beside these features.
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
        self.encoder = PostEncoder(self.schema, tokenizer, use_context)
        self.batch_size = batch_size
        on_gpu = device.type == "cuda"
        self.half = precision == "bfloat16" or (precision == "auto" and on_gpu)
        self.predict_batch: Callable[[Batch], list[Prediction]] = method.predict
        self.specs = [
            spec for spec in method.feature_specs() if spec.is_visual and not spec.training_only
        ]
        self.reads_pixels = method.reads_pixels
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
        self,
        reads: Sequence[ReadPost],
        features: WindowFeatures,
        long: LongPosts = "windows",
        texts: PairTexts | None = None,
        types: RelationTypes | None = None,
    ) -> list[list[Prediction]]:
        """Predict for a window of posts.

        Args:
            reads: The posts.
            features: Features of the window's views that another method has computed; this one's
                are added.
            long: ``windows`` reads posts that are too long in windows of their text (see
                `mmie.data.long_posts` and `mmie.inference.long_posts`), ``truncate`` reads them in
                part, and ``error`` refuses them.
            texts: Result of `PostEncoder.split_texts` for the posts (RE); None splits them.
            types: Types of entities that relations are limited to (RE); None does not limit them.

        Returns:
            For each post one prediction (NER; none without words), or one for each of its relations
            (RE). Of the relations of a post that is read in windows, those without a window and
            those predicted as ``None`` are left out.

        Raises:
            PostError: A post is too long, and ``long`` is ``error``.
        """
        if not self.method.task.asks_pairs:
            return self._predict_entities(reads, features, long)
        if texts is None:
            texts = self.encoder.split_texts(reads, long)
        asked = self.encoder.ask_relations(reads, texts)
        owners = [item.owner for item in asked]
        owners += [index for index in texts.long if reads[index].post.relations]
        views = self._collect_views(reads, owners, features)
        by_post: list[list[Prediction]] = [[] for _ in reads]
        for item, prediction in self._answer(asked, views, features, types):
            by_post[item.owner].append(prediction)
        in_windows = self.encoder.ask_in_windows(reads, texts.long)
        for item, prediction in self._answer_groups(in_windows, views, features, types):
            label, pair = prediction.relations[0].label, item.relation
            if label != NO_RELATION and pair is not None:
                relation = Relation(pair.head, pair.tail, label)  # by words of the whole post
                by_post[item.owner].append(replace(prediction, relations=(relation,)))
        return by_post

    def _predict_entities(
        self, reads: Sequence[ReadPost], features: WindowFeatures, long: LongPosts
    ) -> list[list[Prediction]]:
        """Predict the entities of posts.

        What is read of a long post without windows is its first window, which therefore shares a
        batch with other posts. The later windows are read after them, so that long posts do not
        change the rounding of others.

        Raises:
            PostError: A post is too long, and ``long`` is ``error``.
        """
        asked = self.encoder.ask_entities(reads)
        long_posts = self.encoder.check_lengths(reads, asked, long)
        views = self._collect_views(reads, [item.owner for item in asked], features)
        by_post: list[list[Prediction]] = [[] for _ in reads]
        for item, prediction in self._answer(asked, views, features):
            by_post[item.owner].append(prediction)
        windows: dict[int, list[TextWindow]] = {owner: [] for owner in long_posts}

        def later_windows() -> Iterator[Asked]:
            for item in self.encoder.ask_windows(reads, long_posts):
                assert item.instance.window is not None
                windows[item.owner].append(item.instance.window)
                if len(windows[item.owner]) > 1:
                    yield item

        for item, prediction in self._answer_groups(later_windows(), views, features):
            by_post[item.owner].append(prediction)
        for owner in long_posts:
            merged = merge_windows(windows[owner], by_post[owner], reads[owner].post.id)
            by_post[owner] = [merged]
        return by_post

    def _answer_groups(
        self,
        asked: Iterator[Asked],
        views: WindowViews | None,
        features: Mapping[str, Tensor],
        types: RelationTypes | None = None,
    ) -> Iterator[tuple[Asked, Prediction]]:
        """Yield what is asked with its prediction, and encode no more than a few batches ahead."""
        while group := list(islice(asked, _GROUP * self.batch_size)):
            yield from self._answer(group, views, features, types)

    def _answer(
        self,
        asked: Sequence[Asked],
        views: WindowViews | None,
        features: Mapping[str, Tensor],
        types: RelationTypes | None = None,
    ) -> list[tuple[Asked, Prediction]]:
        """Predict in batches of like length, the longest first.

        Returns:
            What is asked with its prediction, in order.
        """
        instances = [item.instance for item in asked]
        predictions: dict[int, Prediction] = {}
        by_length = sorted(range(len(instances)), key=lambda index: -len(instances[index]))
        for start in range(0, len(asked), self.batch_size):
            chunk = by_length[start : start + self.batch_size]
            chosen = [instances[number] for number in chunk]
            batch = self._batch(chosen, [asked[number].owner for number in chunk], views, features)
            if types is not None:
                batch.allowed = types.mask(batch.relations, self.schema.labels)
            with torch.inference_mode(), self._autocast():
                batch = batch.to(self.method.device)
                computed = self.predict_batch(batch)
            predictions.update(zip(chunk, computed, strict=True))
        return [(item, predictions[number]) for number, item in enumerate(asked)]

    def diagnose(self, reads: Sequence[ReadPost], long: LongPosts = "windows") -> dict[str, Tensor]:
        """Explain the predictions for a few posts, in one batch: see `ExtractionModule.diagnose`.

        Args:
            reads: The posts. Of a long post the first window is explained (NER).
            long: See `predict`.

        Returns:
            Tensors on the CPU with a row for each post (NER) or for each relation (RE), and the
            first word that each row has read of its post as ``first_word``.

        Raises:
            PostError: A post is too long, and ``long`` is ``error``.
        """
        if self.method.task.asks_pairs:
            texts = self.encoder.split_texts(reads, long)
            asked = self.encoder.ask_relations(reads, texts)
            asked += self.encoder.ask_in_windows(reads, texts.long)
            asked.sort(key=lambda item: item.owner)
        else:
            asked = self.encoder.ask_entities(reads)
        if not asked:
            return {}
        instances, owners = [item.instance for item in asked], [item.owner for item in asked]
        features: WindowFeatures = {}
        views = self._collect_views(reads, owners, features)
        with self._autocast():
            batch = self._batch(instances, owners, views, features).to(self.method.device)
            diagnosis = self.method.diagnose(batch)
        windows = [instance.window for instance in instances]
        first_words = [0 if window is None else window.start for window in windows]
        explained = {name: rows.float().cpu() for name, rows in diagnosis.items()}
        return {**explained, "first_word": torch.tensor(first_words)}

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
        needed = views.rows[sorted(set(owners))].unique()
        needed = needed[needed >= 0]  # (needed views,)
        if len(needed):
            for spec in self.specs:
                key = self._feature_key(spec)
                if key not in features:
                    features[key] = self._compute_features(spec, views.pixels, needed)
        return views

    def _feature_key(self, spec: FeatureSpec) -> str:
        """Return a key of everything that a row depends on beside its view."""
        identity = json.dumps([spec.source, dict(spec.identity)], sort_keys=True, default=str)
        return f"{identity} {self.format}"

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
        if self.reads_pixels:
            batch.pixels = views.spread_pixels(owners)
        rows = views.rows[owners]  # (batch, views)

        def provide(spec: FeatureSpec) -> Tensor:
            mask = spec.view_mask(batch)
            return features[self._feature_key(spec)][rows[:, : mask.shape[1]][mask]]

        return attach_features(batch, self.specs, provide)

    @torch.inference_mode()
    def _compute_features(self, spec: FeatureSpec, pixels: Tensor, needed: Tensor) -> Tensor:
        """Compute the features of some views.

        Args:
            spec: The features.
            pixels: (distinct views, 3, size, size) uint8.
            needed: (needed views,) indices of the views to compute.

        Returns:
            (distinct views, width) on the CPU, 0 for the views that are not needed.
        """
        device = self.method.device
        with self._autocast():
            parts = [
                spec.compute(pixels[some].to(device)) for some in needed.split(self.batch_size)
            ]
        computed = torch.cat(parts).cpu()  # (needed views, width)
        rows = computed.new_zeros(len(pixels), computed.shape[1])
        return rows.index_copy(0, needed, computed)

    def _autocast(self) -> AbstractContextManager[None]:
        """Return the context of the precision to compute in."""
        return torch.autocast(self.method.device.type, torch.bfloat16, enabled=self.half)
