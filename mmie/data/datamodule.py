"""Lightning data module of all methods."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from mmie.data.batching import Collator, FeatureProvider, InstanceDataset
from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.contexts import ContextFile
from mmie.data.corpora.digest import digest_posts
from mmie.data.corpora.labels import (
    check_labels,
    count_unknown,
    labels_of,
    types_of_relations,
)
from mmie.data.encoding import WordTokenizer
from mmie.data.frame_files import FrameFiles
from mmie.data.instances import (
    Instance,
    draw_share,
    encode_posts,
    mask_views,
    shuffle_pictures,
)
from mmie.data.long_posts import LongPosts
from mmie.data.picture_audit import audit_pictures
from mmie.data.pictures import ImageTransform, ResizeMode
from mmie.data.sampler import BucketSampler
from mmie.data.state import DataState, schema_difference
from mmie.types import Batch, MmieError, Post, Schema, Split, TagScheme, Task

Pictures = Literal["right", "shuffled", "none"]
FeatureProviderFactory = Callable[[Sequence[Instance], bool], FeatureProvider]
"""Builds the source of features for the instances that are read.

The flag tells whether they are trained on.
"""

_Stage = Literal["train", "val", "test", "predict"]
"""Stages as Lightning names the limits of their batches."""
_MANY_EPOCHS = 1000
"""Epochs of a fit that ends at a step or a time, which reads all instances after some of them."""
_MAX_LISTED = 10
"""Unreadable pictures that a message lists."""
STAGES: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "valid"),
    "validate": ("valid",),
    "test": ("test",),
    "predict": ("test",),
}
"""Splits of the trainer's stages."""


class SettingError(MmieError, ValueError):
    """Setting of the data module that is out of its range."""


class MultimodalDataModule(LightningDataModule):
    """Batches of a corpus for one task, each of posts of similar length and padded to its longest.

    Text is tokenised once, when a split is set up. Pictures are checked once as well. One that is
    missing, broken or too large masks its view, and is counted and reported.

    Args:
        corpus: Corpus of the posts.
        task: ``ner`` or ``re``.
        tokenizer: Hub name or folder of the tokenizer, which is the text encoder's.
        batch_size: Posts per batch and process.
        eval_batch_size: Posts per batch and process outside training; by default ``batch_size``.
        max_tokens: Most subword tokens of a post.
        num_objects: Object crops per post (m).
        num_images: Whole pictures per post. Of a post with fewer pictures, an animation or a video
            gives several of its frames, evenly spaced, and views that remain are masked.
        tag_scheme: Scheme of NER tags.
        labels: Entity types, or relation labels with ``None`` first, of the model, in its order; by
            default the corpus's. Other labels of the corpus count as gold that is never found. The
            command takes the labels from the checkpoint that it scores.
        image_size: Height and width of a view in pixels.
        resize: ``crop`` scales the shorter side and cuts out the middle, ``squash`` scales both
            sides.
        pictures: ``right``, ``shuffled`` (every post that has pictures gets those of another one of
            its split, with another image unless more than half of the posts have the same image) or
            ``none``.
        random_crops: In training, draw ``num_objects`` crops at random from all that a post has,
            anew in every epoch. Otherwise, and in evaluation, take the first ones, since crop
            indices hold the best first.
        use_context: Let each post's context follow its words, as a second segment that is attended
            to but never tagged. It gets the room that the words leave of ``max_tokens``.
        context_file: JSON object of post ids and contexts, which replace the posts' own.
            ``{split}`` in the path is replaced by ``train``, ``valid`` or ``test``, as MNRE needs,
            whose ids are line numbers.
        train_fraction: Share of training instances to use, drawn without replacement.
        num_workers: Processes that read pictures ahead.
        pin_memory: Keep batches in page-locked memory; by default if there is a GPU.
        max_pixels: Pixels of the largest picture that is decoded.
        seed: Seed of the order of batches, of ``train_fraction`` and of shuffled pictures.
        long: Treatment of posts with more than ``max_tokens``. ``truncate`` cuts off the words
            beyond, ``error`` refuses the split, and ``windows`` (NER) makes an instance of each
            window of `mmie.data.long_posts`, for training and for scores. Each gold entity counts
            in the window that it belongs to and nowhere else.
        strict_pictures: Whether a JPEG without its last bytes counts as unreadable although all of
            its pixels are there.

    Raises:
        SettingError: A setting is out of its range.
        CorpusError: The corpus has no labels for the task, or its labels do not fit ``labels``.
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
        num_images: int = 1,
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
        long: LongPosts = "truncate",
        strict_pictures: bool = False,
    ) -> None:
        super().__init__()
        if eval_batch_size is None:
            eval_batch_size = batch_size
        _check_choice("long", long, LongPosts)
        _check_choice("tag_scheme", tag_scheme, TagScheme)
        _check_choice("resize", resize, ResizeMode)
        _check_choice("pictures", pictures, Pictures)
        if not 0 < train_fraction <= 1:
            raise SettingError(
                f"train_fraction is {train_fraction}: expected a share above 0 and at most 1"
            )
        if long == "windows" and task == "re":
            raise SettingError(
                "long is windows, task re: expected truncate or error, which keep the entities of "
                "a relation together"
            )
        if context_file is not None and not use_context:
            raise SettingError(
                f"context_file is '{context_file}', use_context false: expected use_context: true"
            )
        _check_at_least(1, "batch_size", batch_size)
        _check_at_least(1, "eval_batch_size", eval_batch_size)
        _check_at_least(1, "image_size", image_size)
        _check_at_least(0, "num_objects", num_objects)
        _check_at_least(1, "num_images", num_images)
        _check_at_least(0, "num_workers", num_workers)
        _check_task(corpus, task, labels)
        self.corpus = corpus
        self.task: Task = task
        self.tokenizer_source = tokenizer
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.max_tokens = max_tokens
        self.long: LongPosts = long
        self.num_objects = num_objects
        self.num_images = num_images
        self.tag_scheme: TagScheme = tag_scheme
        self.labels = labels
        self.transform = ImageTransform(image_size, resize, max_pixels)
        self.strict_pictures = strict_pictures
        self.pictures: Pictures = pictures
        self.random_crops = random_crops
        self.use_context = use_context
        self.context_file = None if context_file is None else ContextFile(context_file, corpus)
        self.train_fraction = train_fraction
        self.num_workers = num_workers
        self.pin_memory = torch.cuda.is_available() if pin_memory is None else pin_memory
        self.seed = seed
        self._frame_files = FrameFiles(num_images, max_pixels)
        self.instances: dict[Split, list[Instance]] = {}
        self.feature_provider: FeatureProviderFactory | None = None
        self._epochs = 0

    @cached_property
    def tokenizer(self) -> WordTokenizer:
        """Tokenizer, loaded when it is first used."""
        return WordTokenizer.from_source(self.tokenizer_source, self.max_tokens)

    @cached_property
    def schema(self) -> Schema:
        """Task, labels and sizes, for the model."""
        labels = self.labels
        return Schema(
            task=self.task,
            labels=labels_of(self.corpus, self.task) if labels is None else tuple(labels),
            vocab_size=self.tokenizer.vocab_size,
            tag_scheme=self.tag_scheme,
            max_tokens=self.max_tokens,
            num_objects=self.num_objects,
            image_size=self.transform.size,
            mask_id=self.tokenizer.mask_id,
            num_images=self.num_images,
        )

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each split of the corpus that can be read, contexts included."""
        source = self.corpus if self.context_file is None else self.context_file
        digests: dict[str, str] = {}
        for split in self.corpus.splits:
            with suppress(CorpusError):  # a fit does not need the test split
                digests[split] = digest_posts(source.posts(split), self.corpus.root)
        return digests

    @cached_property
    def relation_types(self) -> dict[str, list[tuple[str, str]]]:
        """Types of head and tail of the training data's relations, by label (RE)."""
        types: dict[str, list[tuple[str, str]]] = {}
        if self.task == "re":
            with suppress(CorpusError):
                types = types_of_relations(self.corpus.posts("train"))
        return types

    def setup(self, stage: str) -> None:
        """Read and tokenise the splits of a stage, and check their pictures.

        Raises:
            CorpusError: A split cannot be read, has no instance for the task, or too many of its
                pictures cannot be read.
        """
        new = {split: self._read(split) for split in STAGES[stage] if split not in self.instances}
        self._mask_unreadable(list(chain(*new.values())))
        self.instances.update(new)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of shuffled batches of the training split."""
        return self._loader("train", "train")

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the validation split."""
        return self._loader("valid", "val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the test split."""
        return self._loader("test", "test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the test split."""
        return self._loader("test", "predict")

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to continue a fit and to read new posts.

        The values are plain.
        """
        epochs = 0
        if self.trainer is not None:
            progress = self.trainer.fit_loop.epoch_progress.current
            epochs = progress.processed  # type: ignore[attr-defined]
        files = self.tokenizer.to_files()
        state = DataState(
            self.schema,
            files,
            self.transform,
            self.use_context,
            epochs,
            self.digests,
            self.relation_types,
        )
        return state.to_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the epoch of a checkpoint.

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
        """Read and encode the instances of a split.

        Raises:
            CorpusError: The split cannot be read, has no instance for the task, or has a post that
                is too long.
        """
        posts = self._frame_files.expand(self._change_pictures(self._read_posts(split)))
        instances = encode_posts(posts, self.schema, self.tokenizer, self.use_context, self.long)
        if not instances:
            raise CorpusError(
                f"{self.corpus.place(split)}: the split has no instance for task {self.task}"
            )
        self._report_truncation(split, instances)
        if split == "train" and self.random_crops:
            for instance in instances:
                pictures = instance.views[: self.num_images]
                instance.views = (*pictures, *instance.post.crops)
        if split == "train" and self.train_fraction < 1:
            return draw_share(instances, self.train_fraction, self.seed)
        self._warn_of_unknown_labels(split, instances)
        return instances

    def _read_posts(self, split: Split) -> list[Post]:
        """Read the posts of a split with the contexts of the context file, if there is one."""
        if self.context_file is None:
            posts = self.corpus.posts(split)
        else:
            posts = self.context_file.posts(split)
        if self.use_context:
            count = sum(bool(post.context and post.context.strip()) for post in posts)
            rank_zero_info(
                f"{self.corpus.name} {split}: {count} of {len(posts)} posts have a context"
            )
        return posts

    def _change_pictures(self, posts: Sequence[Post]) -> list[Post]:
        """Keep, shuffle or remove the pictures of posts, as the setting ``pictures`` says."""
        if self.pictures == "none":
            return [replace(post, image=None, more_images=(), crops=()) for post in posts]
        if self.pictures == "shuffled":
            return shuffle_pictures(posts, self.seed)
        return list(posts)

    def _report_truncation(self, split: Split, instances: Iterable[Instance]) -> None:
        """Report the number of instances whose words were cut off.

        Raises:
            CorpusError: Words of an instance were cut off, and ``long`` is ``error``.
        """
        cut = [instance for instance in instances if instance.is_truncated]
        count = len(cut)
        if cut and self.long == "error":
            raise CorpusError(
                f"{self.corpus.place(split)}: {count} instances are longer than max_tokens "
                f"{self.max_tokens}, the first one in post {cut[0].post.id}: raise it, or let long "
                "be windows or truncate"
            )
        if cut:
            rank_zero_info(
                f"{self.corpus.name} {split}: max_tokens {self.max_tokens} cuts words off "
                f"{count} instances"
            )

    def _warn_of_unknown_labels(self, split: Split, instances: Sequence[Instance]) -> None:
        """Warn of gold labels that the model lacks.

        Without ``labels`` the model has the corpus's labels, and the corpus itself warns.
        """
        if self.labels is None:
            return
        unknown = count_unknown(instances, self.task, self.labels)
        if unknown:
            counts = ", ".join(f"{label} ({count})" for label, count in unknown.items())
            rank_zero_warn(
                f"{self.corpus.name} {split}: the model does not know, and so cannot find: {counts}"
            )

    def _mask_unreadable(self, instances: Sequence[Instance]) -> None:
        """Mask and report the views that cannot be read.

        Raises:
            CorpusError: Their share is above the corpus's ``max_missing``.
        """
        views = chain.from_iterable(instance.views for instance in instances)
        named = list(dict.fromkeys(view for view in views if view is not None))
        if not named:
            return
        unreadable = audit_pictures(named, self.transform.max_pixels, strict=self.strict_pictures)
        problems = self._frame_files.problems
        unreadable |= {path: problems[path] for path in unreadable if path in problems}
        mask_views(instances, unreadable)
        if not unreadable:
            return
        reasons = list(unreadable.items())[:_MAX_LISTED]
        listed = ", ".join(
            f"{self.corpus.row_of_picture(path) or path.name} ({reason})"
            for path, reason in reasons
        )
        message = (
            f"{self.corpus.name}: {len(unreadable)} of {len(named)} pictures cannot be read: "
            f"{listed}"
        )
        if len(unreadable) / len(named) > self.corpus.max_missing:
            raise CorpusError(
                f"{message}; more than max_missing {self.corpus.max_missing:g} allows"
            )
        rank_zero_warn(f"{message}. Their views are masked.")

    def _loader(self, split: Split, stage: _Stage) -> DataLoader[Batch]:
        """Build the loader of a split for a stage of the trainer."""
        instances = self.instances[split]
        training = stage == "train"
        batch_size = self.batch_size if training else self.eval_batch_size
        lengths = [len(instance) for instance in instances]
        sampler = BucketSampler(lengths, batch_size, training, self.seed)
        # workers read ahead before Lightning sets the epoch of a continued fit
        sampler.set_epoch(self._epochs)
        provider = None
        if self.feature_provider is not None:
            indices = self._indices_read(sampler, stage)
            provider = self.feature_provider([instances[index] for index in indices], training)
        collator = Collator(self.schema, self.tokenizer.pad_id, self.transform, provider)
        crop_seed = self.seed if self.random_crops and training else None
        return DataLoader(
            InstanceDataset(instances, collator, crop_seed),
            sampler=sampler,
            batch_size=None,
            num_workers=self.num_workers,
            # by default the loader draws from the generator of dropout, too
            generator=torch.Generator().manual_seed(self.seed),
            pin_memory=self.pin_memory,
            persistent_workers=self.num_workers > 0,
        )

    def _indices_read(self, sampler: BucketSampler, stage: _Stage) -> Sequence[int]:
        """Return the indices of the instances that a stage reads, less than all in a trial."""
        everything = range(len(sampler.lengths))
        if self.trainer is None:
            return everything
        limit = getattr(self.trainer, f"limit_{stage}_batches")  # a number, or a share
        num_batches = limit if isinstance(limit, int) else int(limit * len(sampler))
        epochs = range(1)
        if stage == "train":
            max_epochs = self.trainer.max_epochs
            if max_epochs is None or max_epochs < 0:  # training ends at a step or a time
                max_epochs = _MANY_EPOCHS
            epochs = range(self._epochs, max_epochs)
            max_batches = self.trainer.max_steps * self.trainer.accumulate_grad_batches
            if self._epochs == 0 and 0 <= max_batches <= min(num_batches, len(sampler)):
                num_batches, epochs = max_batches, range(1)
        if num_batches >= len(sampler):
            return everything
        return sampler.first_indices(num_batches, epochs)


def _check_choice(name: str, value: object, choices: object) -> None:
    """Raise if a setting is not one of the values of a ``Literal``.

    Raises:
        SettingError: The value is another one.
    """
    if value not in get_args(choices):
        raise SettingError(f"{name} is {value!r}: expected one of {', '.join(get_args(choices))}")


def _check_at_least(least: int, name: str, value: int) -> None:
    """Raise if a setting is too small.

    Raises:
        SettingError: The value is below ``least``.
    """
    if value < least:
        raise SettingError(f"{name} is {value}: expected at least {least}")


def _check_task(corpus: Corpus, task: Task, labels: Sequence[str] | None) -> None:
    """Raise if a corpus does not fit the task or the labels of the model.

    A corpus without a training split has no labels of its own and needs those of the model.

    Raises:
        CorpusError: The corpus has no labels for the task, or other labels than the model.
    """
    if task not in corpus.tasks and (labels is None or "train" in corpus.splits):
        raise CorpusError(
            f"{corpus.name} has nothing for task {task}: it has {', '.join(corpus.tasks) or 'none'}"
        )
    if labels is not None:
        check_labels(corpus, task, labels)
