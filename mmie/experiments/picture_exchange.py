"""Predictions of a method for a split, with the right pictures and with those of other posts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import track

from mmie.data import MultimodalDataModule
from mmie.data.batching import Collator
from mmie.data.instances import Instance, Views
from mmie.data.picture_audit import picture_digests
from mmie.methods import ExtractionModule
from mmie.methods.inspection import inspecting
from mmie.metrics import ExchangeBlocks
from mmie.training.features.callback import FeatureProviderFactory
from mmie.types import MmieError, Prediction, Split
from mmie.utils.terminal import PlainConsole

BATCH_SIZE = 32
_LEAST_PICTURES = 3
"""Number of pictures from which each can be exchanged with two others."""


class ExchangeError(MmieError, ValueError):
    """A method that reads no pictures, or a split with too few of them."""


@dataclass(frozen=True, slots=True)
class ExchangedPredictions:
    """Predictions with the right pictures and with those of other posts.

    Attributes:
        instances: Instances of the split.
        pictures: Index of the picture of each instance, equal for files of equal content; None for
            an instance without a readable picture.
        blocks: Blocks of pictures that are exchanged.
        predictions: Prediction for each instance at each shift of the blocks; None where the block
            is smaller, and for an instance without a picture at shifts above 0.
    """

    instances: list[Instance]
    pictures: list[int | None]
    blocks: ExchangeBlocks
    predictions: list[list[Prediction | None]]


def predict_exchanged(
    module: ExtractionModule,
    data: MultimodalDataModule,
    split: Split,
    others: int = 19,
    seed: int = 1234,
    folder: Path | None = None,
) -> ExchangedPredictions:
    """Predict for a split with the right pictures and with those of other posts.

    Posts with the same picture exchange it together. Features of frozen backbones are computed once
    for each picture and read from the cache for each exchange. A trained backbone is run again for
    each exchange.

    Args:
        module: The method.
        data: Its data, with the split set up with the right pictures.
        split: The split.
        others: Least number of other pictures for each picture, 2 or more.
        seed: Seed of the blocks.
        folder: Folder of the feature caches; None caches nothing.

    Raises:
        ExchangeError: The method reads no pictures, or the split has fewer than three different
            ones.
    """
    if not module.uses_images:
        raise ExchangeError(f"{type(module).__name__} reads no pictures: there is nothing to test")
    instances = data.instances[split]
    provider = FeatureProviderFactory(module, data, folder)(instances, training=False)
    pictures = index_pictures(instances, data.transform.max_pixels)
    num_pictures = len({picture for picture in pictures if picture is not None})
    if num_pictures < _LEAST_PICTURES:
        raise ExchangeError(
            f"{data.corpus.name} {split} has {num_pictures} different readable pictures: expected "
            f"at least {_LEAST_PICTURES}"
        )
    blocks = ExchangeBlocks.draw(num_pictures, others, seed)
    collator = Collator(module.schema, data.tokenizer.pad_id, data.transform, provider)
    predictions: list[list[Prediction | None]] = []
    with inspecting(module):
        for shift in _with_progress(blocks.num_shifts):
            exchanged = exchange_views(instances, pictures, blocks, shift)
            predictions.append(_predict(module, collator, exchanged))
    return ExchangedPredictions(instances, pictures, blocks, predictions)


def index_pictures(instances: Sequence[Instance], max_pixels: int) -> list[int | None]:
    """Assign numbers to the pictures of instances by the content of the first readable view.

    Args:
        instances: The instances.
        max_pixels: Pixels of the largest picture that is read.
    """
    first_views: list[Path | None] = []
    for instance in instances:
        readable = [path for path in instance.views if path is not None]
        first_views.append(readable[0] if readable else None)
    digests = picture_digests({path for path in first_views if path is not None}, max_pixels)
    numbers: dict[str, int] = {}
    pictures: list[int | None] = []
    for view in first_views:
        if view is None:
            pictures.append(None)
        else:
            pictures.append(numbers.setdefault(digests[view], len(numbers)))
    return pictures


def exchange_views(
    instances: Sequence[Instance],
    pictures: Sequence[int | None],
    blocks: ExchangeBlocks,
    shift: int,
) -> list[Instance | None]:
    """Return copies of instances with the views of the picture that a shift gives them.

    If the crops of a picture differ between its posts, they are handed on in turn.

    Args:
        instances: The instances.
        pictures: Index of the picture of each.
        blocks: The blocks.
        shift: The shift; 0 keeps all views.

    Returns:
        The copies; None where the shift gives no other picture.
    """
    if shift == 0:
        return list(instances)
    views_of: list[list[Views]] = [[] for _ in range(blocks.num_pictures)]
    for instance, picture in zip(instances, pictures, strict=True):
        if picture is not None and instance.views not in views_of[picture]:
            views_of[picture].append(instance.views)
    partners = blocks.partners(shift)
    exchanged: list[Instance | None] = []
    for instance, picture in zip(instances, pictures, strict=True):
        if picture is None or picture not in partners:
            exchanged.append(None)
            continue
        own, given = views_of[picture], views_of[partners[picture]]
        views = given[own.index(instance.views) % len(given)]
        exchanged.append(replace(instance, views=views))
    return exchanged


def _predict(
    module: ExtractionModule, collator: Collator, instances: Sequence[Instance | None]
) -> list[Prediction | None]:
    """Predict for the instances that are not None, in batches of similar length."""
    present = [index for index, instance in enumerate(instances) if instance is not None]
    present.sort(key=lambda index: len(instances[index] or ()))
    predictions: list[Prediction | None] = [None] * len(instances)
    for start in range(0, len(present), BATCH_SIZE):
        indices = present[start : start + BATCH_SIZE]
        chunk = [instance for index in indices if (instance := instances[index]) is not None]
        batch = collator(chunk, indices).to(module.device)
        for index, prediction in zip(indices, module(batch), strict=True):
            predictions[index] = prediction
    return predictions


def _with_progress(shifts: int) -> Iterator[int]:
    """Show progress over the shifts on a terminal."""
    console = PlainConsole(stderr=True)
    hidden = not console.is_terminal
    yield from track(
        range(shifts), "exchanging pictures", console=console, transient=True, disable=hidden
    )
