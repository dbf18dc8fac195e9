"""A trained method that answers posts: batches of like length, each picture through a frozen backbone once."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from mmie.data.batching import Collator, Instance, encode_posts
from mmie.data.encoding import WordTokenizer
from mmie.data.pictures import ResizeMode
from mmie.inference.reading import ReadPost, ViewFormat
from mmie.methods import ExtractionModule
from mmie.methods.checkpoints import build_method
from mmie.methods.transfer import CheckpointError
from mmie.types import Answer, Batch, Post, Precomputed

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(slots=True)
class WindowViews:
    """The views of some posts in one format, without gaps.

    Attributes:
        pixels: (readable views, 3, size, size) uint8.
        rows: (posts, views) place of each view in ``pixels``, -1 for one that there is not.
    """

    pixels: Tensor
    rows: Tensor

    @classmethod
    def of(cls, reads: Sequence[ReadPost], form: ViewFormat) -> Self:
        """The views of posts that were read in a format."""
        readable = [view for read in reads for view in read.views[form] if view is not None]
        there = torch.tensor([[view is not None for view in read.views[form]] for read in reads])  # (posts, views)
        rows = torch.where(there, there.flatten().cumsum(0).view_as(there) - 1, -1)
        blank = torch.zeros(0, 3, form.size, form.size, dtype=torch.uint8)
        return cls(torch.stack(readable) if readable else blank, rows)

    def spread(self, values: Tensor, posts: Sequence[int]) -> Tensor:
        """Values of the readable views (readable views, ...) as (posts, views, ...); 0 where there is none."""
        padded = torch.cat([values, values.new_zeros(1, *values.shape[1:])])  # -1 is the last row
        return padded[self.rows[posts]]


class Answerer:
    """A trained method, its tokenizer, and how it sees pictures.

    Args:
        method: The method.
        tokenizer: Its tokenizer.
        transform: How pictures become views: ``resize`` and ``max_pixels``.
        use_context: Whether it reads the posts' contexts.
        device: Where to compute.
        precision: ``auto`` is bfloat16 on a GPU and float32 elsewhere.
        batch_size: Posts, or pairs of entities, that are computed together.
    """

    def __init__(
        self,
        method: ExtractionModule,
        tokenizer: WordTokenizer,
        transform: Mapping[str, Any],
        use_context: bool,
        device: torch.device,
        precision: Precision = "auto",
        batch_size: int = 32,
    ) -> None:
        self.method = method.to(device).eval().requires_grad_(False)
        self.schema = method.schema
        self.tokenizer = tokenizer
        self.transform = dict(transform)
        self.use_context = use_context
        self.batch_size = batch_size
        self.half = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
        used = [spec for spec in method.precomputed() if not spec.training_only]
        self._specs = {_key(spec): spec for spec in used if spec.source in ("views", "picture")}
        views = 1 + self.schema.num_objects if method.looks else 0
        self.format = ViewFormat(self.schema.image_size, transform["resize"], views, transform["max_pixels"])
        self._collator = Collator(self.schema, tokenizer.pad_id)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Mapping[str, Any], path: str | Path, device: torch.device, **options: Any
    ) -> Self:
        """The method of a checkpoint's content, read from ``path``; ``options`` are the constructor's last two.

        Raises:
            CheckpointError: It is of another version of the package or of the method.
        """
        data = checkpoint["MultimodalDataModule"]
        _check_transform(data, path)
        method = build_method(checkpoint, path)
        tokenizer = WordTokenizer.from_files(data["tokenizer"], method.schema.max_tokens)
        return cls(method, tokenizer, data["transform"], data["use_context"], device, **options)

    def answer(self, reads: Sequence[ReadPost], kept: dict[str, Tensor]) -> list[list[Answer]]:
        """Answers of every post: one of a post (NER), or one of each of its relations (RE).

        Args:
            reads: The posts.
            kept: What frozen backbones made of their views, (readable views, width), to use and to add to.
        """
        instances, owners = self._encode(reads)
        if not self.method.task.asks_pairs:
            for instance, place in zip(instances, owners, strict=True):
                _note_unread(instance, reads[place].problems)
        views, features = self._see(reads, owners, kept)
        answers: dict[int, Answer] = {}
        for chunk in self._chunks(instances):
            asked = [owners[number] for number in chunk]
            batch = self._batch([instances[number] for number in chunk], asked, views, features)
            answers.update(zip(chunk, self._compute(batch), strict=True))
        found: list[list[Answer]] = [[] for _ in reads]
        for number, owner in enumerate(owners):
            found[owner].append(answers[number])
        return found

    def diagnose(self, reads: Sequence[ReadPost]) -> dict[str, Tensor]:
        """Why the method answers as it does, in one batch: see `ExtractionModule.diagnose`; on the CPU.

        Args:
            reads: The posts, few; each row of the result is one of them (NER), or one of their relations (RE).
        """
        instances, owners = self._encode(reads)
        if not instances:
            return {}
        views, features = self._see(reads, owners, {})
        with self._autocast():
            batch = self._batch(instances, owners, views, features).to(self.method.device)
            return {name: rows.float().cpu() for name, rows in self.method.diagnose(batch).items()}

    def _encode(self, reads: Sequence[ReadPost]) -> tuple[list[Instance], list[int]]:
        """What is asked of the posts that have words, and the place of the post of each question."""
        spelled = [place for place, read in enumerate(reads) if read.post.words]
        posts = [reads[place].post for place in spelled]
        instances = encode_posts(posts, self.schema, self.tokenizer, self.use_context)
        return instances, [place for place in spelled for _ in self._questions(reads[place].post)]

    def _see(
        self, reads: Sequence[ReadPost], owners: Sequence[int], kept: dict[str, Tensor]
    ) -> tuple[WindowViews | None, dict[str, Tensor]]:
        """The views of posts, and what frozen backbones make of those that a question is asked of."""
        if not self.format.views or not owners:
            return None, {}
        views = WindowViews.of(reads, self.format)
        return views, self._features(views, sorted(set(owners)), kept)

    def _questions(self, post: Post) -> Sequence[object]:
        """What is asked of a post: once, or once a relation."""
        return post.relations if self.method.task.asks_pairs else (post,)

    def _chunks(self, instances: Sequence[Instance]) -> list[list[int]]:
        """Places of the instances, in batches of like length, the longest first."""
        order = sorted(range(len(instances)), key=lambda number: len(instances[number]), reverse=True)
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    @torch.inference_mode()
    def _compute(self, batch: Batch) -> list[Answer]:
        """Answers of a batch."""
        with self._autocast():
            return self.method.answer(batch.to(self.method.device))

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.method.device.type, torch.bfloat16, enabled=self.half)

    def _batch(
        self, instances: Sequence[Instance], posts: list[int], views: WindowViews | None, features: Mapping[str, Tensor]
    ) -> Batch:
        """Instances padded to a batch, with what is seen of their posts' pictures."""
        batch = self._collator(instances, range(len(instances)))
        if views is None or not (views.rows[posts] >= 0).any():
            return batch
        batch = replace(batch, view_mask=views.rows[posts] >= 0)  # (batch, views)
        for key, spec in self._specs.items():
            rows = views.spread(features[key], posts)  # (batch, views, width)
            batch.features[spec.name] = rows if spec.source == "views" else rows[:, 0]
        if self.method.reads_pixels:
            batch.pixels = views.spread(views.pixels, posts)
        return batch

    def _features(self, views: WindowViews, posts: list[int], kept: dict[str, Tensor]) -> dict[str, Tensor]:
        """What frozen backbones make of the views of some posts, (readable views, width) each, 0 for the others'."""
        seen = views.rows[posts].flatten()
        seen = seen[seen >= 0]
        features: dict[str, Tensor] = {}
        for key, spec in self._specs.items() if len(seen) else ():
            name = f"{key} {self.format}"
            if name not in kept:
                kept[name] = self._look(spec, views.pixels, seen)
            features[key] = kept[name]
        return features

    @torch.inference_mode()
    def _look(self, spec: Precomputed, pixels: Tensor, seen: Tensor) -> Tensor:
        """What a frozen backbone makes of some of the views."""
        parts = [spec.compute(pixels[some].to(self.method.device)).cpu() for some in seen.split(self.batch_size)]
        rows = torch.cat(parts)
        return rows.new_zeros(len(pixels), rows.shape[1]).index_copy(0, seen, rows)


def _note_unread(instance: Instance, problems: list[str]) -> None:
    """Say if the end of a post is beyond what the method reads."""
    read, words = instance.text.num_words, len(instance.post.words)
    if read < words:
        problems.append(f"text: only the first {read} of {words} words were read")


def _check_transform(data: Any, path: str | Path) -> None:  # noqa: ANN401  (whatever stands there)
    """Refuse a checkpoint that does not say how its method sees pictures and contexts.

    Raises:
        CheckpointError: It does not.
    """
    try:
        transform = data["transform"]
        known = transform["resize"] in get_args(ResizeMode) and type(transform["max_pixels"]) is int
        known = known and type(data["use_context"]) is bool
    except (KeyError, TypeError, IndexError):
        known = False
    if not known:
        raise CheckpointError(f"'{path}' does not say how it reads posts: it was not written by mmie fit")


def _key(spec: Precomputed) -> str:
    """What a row depends on beside the view."""
    return json.dumps([spec.source, dict(spec.identity)], sort_keys=True, default=str)
