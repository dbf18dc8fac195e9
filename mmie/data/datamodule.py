"""The data module that every method trains on."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from mmie.data.batching import (
    Collator,
    FeatureProvider,
    Instance,
    InstanceDataset,
    encode_posts,
    mask_views,
    shuffle_pictures,
)
from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.contexts import ContextFile
from mmie.data.corpora.labels import check_labels, count_unknown, labels_of
from mmie.data.encoding import WordTokenizer
from mmie.data.pictures import ImageTransform, ResizeMode, audit_pictures
from mmie.data.sampler import BucketSampler
from mmie.data.state import DataState, schema_difference
from mmie.types import Batch, MmieError, Post, Schema, Split, TagScheme, Task

Pictures = Literal["right", "shuffled", "none"]
FeatureProviderFactory = Callable[[Sequence[Instance], bool], FeatureProvider]
"""Makes a source of features for instances; the flag tells whether they are trained on."""

_STAGES: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "valid"),
    "validate": ("valid",),
    "test": ("test",),
    "predict": ("test",),
}


class SettingError(MmieError, ValueError):
    """A setting of the data module that makes no sense."""


class MultimodalDataModule(LightningDataModule):
    """Batches of a corpus for one task; padded to their longest post, made of posts of like length.

    Text is tokenised once, when a split is set up. Pictures are looked at once as well: one that is missing, broken
    or too large masks its view, and is counted and reported.

    Args:
        corpus: Where the posts come from.
        task: ``ner`` or ``re``.
        tokenizer: Hub name or folder of the tokenizer, the text encoder's own.
        batch_size: Posts per batch and process.
        eval_batch_size: The same outside training; by default ``batch_size``.
        max_tokens: Most subword tokens of a post; words beyond are cut off.
        num_objects: Object crops per post (m).
        tag_scheme: How NER tags spell entities.
        labels: Entity types, or relation labels with ``None`` first, that the model knows, in its order; by default
            the corpus's. Further ones in the corpus count as gold that is never found. The command takes them from the
            checkpoint that it scores.
        image_size: Height and width of a view in pixels.
        resize: ``crop`` scales the shorter side and cuts out the middle, ``squash`` scales both sides.
        pictures: ``right``, ``shuffled`` (every post that has pictures gets those of another one of its split, of
            another image wherever one image is not in more than half of the posts) or ``none``.
        random_crops: In training, draw ``num_objects`` crops at random from all that a post has, anew in every epoch;
            else, and in evaluation, take the first, which crop indices hold best first.
        use_context: Put each post's context behind its words, as a second segment that is attended to but never tagged;
            it gets the room that the words leave of ``max_tokens``.
        context_file: JSON object of post ids and contexts, which win over the posts' own; ``{split}`` in the path is
            replaced by ``train``, ``valid`` or ``test``, as MNRE needs, whose ids are line numbers.
        train_fraction: Share of training instances to use, drawn without replacement.
        num_workers: Processes that read pictures ahead.
        pin_memory: Keep batches in page-locked memory; by default where there is a GPU.
        max_pixels: Larger pictures are not decoded.
        seed: Seed of the order of batches, of ``train_fraction`` and of shuffled pictures.

    Raises:
        SettingError: A setting is out of its range.
        CorpusError: The corpus has nothing for the task, or too many of its pictures cannot be read.
    """

    def __init__(
        self,
        corpus: Corpus,
        task: Task,
        tokenizer: str | Path = "bert-base-uncased",
        batch_size: int = 16,
        eval_batch_size: int | None = None,
        max_tokens: int = 128,
        num_objects: int = 3,
        tag_scheme: TagScheme = "bio",
        labels: list[str] | None = None,
        image_size: int = 224,
        resize: ResizeMode = "crop",
        pictures: Pictures = "right",
        random_crops: bool = False,
        use_context: bool = False,
        context_file: str | None = None,
        train_fraction: float = 1.0,
        num_workers: int = 0,
        pin_memory: bool | None = None,
        max_pixels: int = 50_000_000,
        seed: int = 1234,
    ) -> None:
        super().__init__()
        _check_choices(
            tag_scheme=(tag_scheme, TagScheme),
            resize=(resize, ResizeMode),
            pictures=(pictures, Pictures),
        )
        if not 0 < train_fraction <= 1:
            raise SettingError(
                f"train_fraction is {train_fraction}: expected a share above 0 and at most 1"
            )
        if context_file is not None and not use_context:
            raise SettingError(
                f"context_file is '{context_file}', use_context false: expected use_context: true"
            )
        eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        _check_at_least(
            1, batch_size=batch_size, eval_batch_size=eval_batch_size, image_size=image_size
        )
        _check_at_least(0, num_objects=num_objects, num_workers=num_workers)
        if task not in corpus.tasks and (labels is None or "train" in corpus.splits):
            raise CorpusError(
                f"{corpus.name} has nothing for task {task}: it has {', '.join(corpus.tasks) or 'none'}"
            )
        if labels is not None:
            check_labels(corpus, task, labels)
        self.corpus = corpus
        self.task: Task = task
        self.tokenizer_source = tokenizer
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.max_tokens = max_tokens
        self.num_objects = num_objects
        self.tag_scheme: TagScheme = tag_scheme
        self.labels = labels
        self.transform = ImageTransform(image_size, resize, max_pixels)
        self.pictures: Pictures = pictures
        self.random_crops = random_crops
        self.use_context = use_context
        self.context_file = None if context_file is None else ContextFile(context_file, corpus)
        self.train_fraction = train_fraction
        self.num_workers = num_workers
        self.pin_memory = torch.cuda.is_available() if pin_memory is None else pin_memory
        self.seed = seed
        self.instances: dict[Split, list[Instance]] = {}
        self.feature_provider: FeatureProviderFactory | None = None
        self._epochs = 0

    @cached_property
    def tokenizer(self) -> WordTokenizer:
        """The tokenizer, loaded when it is first needed."""
        return WordTokenizer.from_source(self.tokenizer_source, self.max_tokens)

    @cached_property
    def schema(self) -> Schema:
        """What the model must know of the data."""
        return Schema(
            task=self.task,
            labels=labels_of(self.corpus, self.task) if self.labels is None else tuple(self.labels),
            vocab_size=self.tokenizer.vocab_size,
            tag_scheme=self.tag_scheme,
            max_tokens=self.max_tokens,
            num_objects=self.num_objects,
            image_size=self.transform.size,
            mask_id=self.tokenizer.mask_id,
        )

    def setup(self, stage: str) -> None:
        """Read, tokenise and look at the pictures of the splits that a stage needs."""
        new = {split: self._read(split) for split in _STAGES[stage] if split not in self.instances}
        self._mask_unreadable([instance for instances in new.values() for instance in instances])
        self.instances.update(new)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches of the training split."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the validation split."""
        return self._loader("valid")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test split."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test split."""
        return self._loader("test")

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to continue a fit and to read new posts, as plain values."""
        epochs = 0
        if self.trainer is not None:
            epochs = self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        state = DataState(
            self.schema, self.tokenizer.to_files(), self.transform, self.use_context, epochs
        )
        return state.to_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a checkpoint's epoch, if its labels and vocabulary are those of this data module.

        Raises:
            CorpusError: The labels or the vocabulary differ, so that predictions or words would be
                taken for others than those the method was trained on.
        """
        state = DataState.from_dict(state_dict)
        name = schema_difference(state.schema, self.schema, ("task", "labels", "tag_scheme"))
        if name is not None:
            theirs, ours = getattr(state.schema, name), getattr(self.schema, name)
            raise CorpusError(
                f"the checkpoint was trained with {name} {theirs}, {self.corpus.name} has {ours}"
            )
        trained = WordTokenizer.from_files(state.tokenizer, self.max_tokens)
        if trained.tokenizer.get_vocab() != self.tokenizer.tokenizer.get_vocab():
            raise CorpusError(
                "the checkpoint was trained with another vocabulary than that of "
                f"'{self.tokenizer_source}': name the text encoder of its run"
            )
        self._epochs = state.epochs

    def _read(self, split: Split) -> list[Instance]:
        """Instances of a split."""
        posts = self._with_pictures(self._posts(split))
        instances = encode_posts(posts, self.schema, self.tokenizer, self.use_context)
        if self.random_crops and split == "train":
            for instance in instances:
                instance.views = (instance.post.image, *instance.post.crops)
        if not instances:
            raise CorpusError(
                f"{self.corpus.text_file(split)}: the split has no instance for task {self.task}"
            )
        cut = sum(instance.text.num_words < len(instance.post.words) for instance in instances)
        if cut:
            rank_zero_info(
                f"{self.corpus.name} {split}: max_tokens {self.max_tokens} cuts words off {cut} instances"
            )
        if split == "train" and self.train_fraction < 1:
            count = max(1, round(self.train_fraction * len(instances)))
            chosen = random.Random(self.seed).sample(range(len(instances)), count)
            return [instances[place] for place in sorted(chosen)]
        self._warn_of_unknown_labels(split, instances)
        return instances

    def _warn_of_unknown_labels(self, split: Split, instances: Sequence[Instance]) -> None:
        """Say how much gold of other labels than the model's there is; a corpus speaks for its own labels itself."""
        unknown = {} if self.labels is None else count_unknown(instances, self.task, self.labels)
        if unknown:
            counts = ", ".join(f"{label} ({count})" for label, count in unknown.items())
            rank_zero_warn(
                f"{self.corpus.name} {split}: the model does not know, and so cannot find: {counts}"
            )

    def _posts(self, split: Split) -> list[Post]:
        """The posts of a split, with the contexts of the context file if there is one."""
        posts = (
            self.corpus.posts(split)
            if self.context_file is None
            else self.context_file.posts(split)
        )
        if self.use_context:
            count = sum(bool(post.context and post.context.strip()) for post in posts)
            rank_zero_info(
                f"{self.corpus.name} {split}: {count} of {len(posts)} posts have a context"
            )
        return posts

    def _with_pictures(self, posts: Sequence[Post]) -> list[Post]:
        """The posts with the pictures that ``pictures`` gives them."""
        if self.pictures == "none":
            return [replace(post, image=None, crops=()) for post in posts]
        return shuffle_pictures(posts, self.seed) if self.pictures == "shuffled" else list(posts)

    def _mask_unreadable(self, instances: Sequence[Instance]) -> None:
        """Mask views that cannot be read, say how many and which, and stop if there are too many."""
        named = dict.fromkeys(
            path for instance in instances for path in instance.views if path is not None
        )
        if not named:
            return
        unreadable = audit_pictures(list(named), self.transform.max_pixels)
        mask_views(instances, unreadable)
        if not unreadable:
            return
        share = len(unreadable) / len(named)
        first = ", ".join(
            f"{path.name} ({reason})" for path, reason in list(unreadable.items())[:10]
        )
        message = f"{self.corpus.name}: {len(unreadable)} of {len(named)} pictures cannot be read: {first}"
        if share > self.corpus.max_missing:
            raise CorpusError(
                f"{message}; more than max_missing {self.corpus.max_missing:g} allows"
            )
        rank_zero_warn(f"{message}. Their views are masked.")

    def _loader(self, split: Split, shuffle: bool = False) -> DataLoader[Batch]:
        """Batches of a split."""
        instances = self.instances[split]
        provider = None
        if self.feature_provider is not None:
            provider = self.feature_provider(instances, shuffle)
        collator = Collator(self.schema, self.tokenizer.pad_id, self.transform, provider)
        batch_size = self.batch_size if shuffle else self.eval_batch_size
        sampler = BucketSampler(
            [len(instance) for instance in instances], batch_size, shuffle, self.seed
        )
        sampler.set_epoch(
            self._epochs
        )  # workers read ahead before Lightning says where a continued fit is
        crop_seed = self.seed if self.random_crops and split == "train" else None
        return DataLoader(
            InstanceDataset(instances, collator, crop_seed),
            sampler=sampler,
            batch_size=None,
            num_workers=self.num_workers,
            generator=torch.Generator().manual_seed(
                self.seed
            ),  # else it draws from what dropout draws from
            pin_memory=self.pin_memory,
            persistent_workers=self.num_workers > 0,
        )


def _check_choices(**settings: tuple[str, object]) -> None:
    """Raise `SettingError` unless every value is one of its type's."""
    for name, (value, choices) in settings.items():
        if value not in get_args(choices):
            raise SettingError(
                f"{name} is {value!r}: expected one of {', '.join(get_args(choices))}"
            )


def _check_at_least(least: int, **settings: int) -> None:
    """Raise `SettingError` unless every value is at least ``least``."""
    for name, value in settings.items():
        if value < least:
            raise SettingError(f"{name} is {value}: expected at least {least}")
