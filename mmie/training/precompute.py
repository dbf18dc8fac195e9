"""The callback that feeds a method with what was computed before: its frozen backbone's features, or decoded pictures.

=================  =============================================  =========================================
a method that      reads                                          kept in the store
=================  =============================================  =========================================
looks at nothing   no picture at all
has a frozen       features                                       a row per distinct picture content
backbone
trains on pixels   uint8 views; normalised on the device          a row per distinct picture content
=================  =============================================  =========================================
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mmie.data import MultimodalDataModule
from mmie.data.batching import Collator, Instance, mask_views, pad_tokens
from mmie.data.pictures import cache_folder, load_picture, picture_digests, to_view
from mmie.methods import ExtractionModule
from mmie.training.feature_store import FILL_BATCH, RowStore
from mmie.types import MmieError, Precomputed


class PrecomputeError(MmieError, ValueError):
    """A method needs rows that nothing is allowed to keep."""


def default_store() -> Path:
    """``$MMIE_CACHE/features``, or ``~/.cache/mmie/features``."""
    return cache_folder() / "features"


@dataclass(frozen=True, slots=True)
class ViewRows:
    """Looks rows up by the pictures of instances.

    Attributes:
        store: Where the rows are.
        keys: Digest of every readable file.
        only_first: Of the global picture alone, (batch, width); else of all views, (batch, views, width).
    """

    store: RowStore
    keys: Mapping[Path, str]
    only_first: bool = False

    def __call__(self, instances: Sequence[Instance]) -> Tensor:
        """Rows of a few instances; 0 where a view is masked."""
        views = [instance.views[:1] if self.only_first else instance.views for instance in instances]
        rows = self.store.rows([None if path is None else self.keys[path] for row in views for path in row])
        return rows if self.only_first else rows.unflatten(0, (len(instances), -1))


@dataclass(frozen=True, slots=True)
class TextRows:
    """Looks rows up by what instances say.

    Attributes:
        store: Where the rows are.
        key_of: The key of an instance.
    """

    store: RowStore
    key_of: Callable[[Instance], str]

    def __call__(self, instances: Sequence[Instance]) -> Tensor:
        """Rows of a few instances, (batch, width)."""
        return self.store.rows([self.key_of(instance) for instance in instances])


class Precompute(Callback):
    """Has the data module read what a method needs and no more, from a store wherever it keeps.

    Args:
        folder: Folder of the stores; None keeps nothing: pictures are decoded in every epoch.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Feed the data module's loaders, which are made later, when the weights of a checkpoint are there.

        Raises:
            PrecomputeError: The method cannot do without a store.
        """
        data = getattr(trainer, "datamodule", None)
        if not isinstance(pl_module, ExtractionModule) or not isinstance(data, MultimodalDataModule):
            return
        if self.folder is None and stage == "fit":
            _check_optional(pl_module.precomputed())
        data.feed = partial(_feed, pl_module, self.folder, not trainer.fast_dev_run)  # type: ignore[attr-defined]


def fill_stores(module: ExtractionModule, data: MultimodalDataModule, folder: Path, device: torch.device) -> None:
    """Compute all that fits and tests of a method on a corpus will read, ahead of them.

    Args:
        module: The method, with the weights that it will be run with.
        data: Its data.
        folder: Folder of the stores.
        device: Where to compute.
    """
    module.to(device).eval()
    data.feed = partial(_feed, module, folder, True)
    loaders = {"train": data.train_dataloader, "valid": data.val_dataloader, "test": data.test_dataloader}
    for stage, splits in (("fit", ("train", "valid")), ("test", ("test",))):
        if set(splits) <= set(data.corpus.splits):
            data.setup(stage)
            for split in splits:
                loaders[split]()


def _check_optional(specs: Sequence[Precomputed]) -> None:
    """Refuse rows that must be kept, where nothing is.

    Raises:
        PrecomputeError: There are such rows.
    """
    required = [spec.name for spec in specs if spec.required]
    if required:
        raise PrecomputeError(f"feature_store is null, but {', '.join(required)} must be kept: name a folder")


def _feed(
    module: ExtractionModule,
    folder: Path | None,
    keeps_all: bool,
    instances: Sequence[Instance],
    collator: Collator,
    training: bool,
) -> None:
    """Tell a collator what to look up; compute what is missing. A trial run computes only what it must."""
    specs = [spec for spec in module.precomputed() if training or not spec.training_only]
    kept = [spec for spec in specs if folder is not None and (keeps_all or spec.required)]
    collator.reads_pixels = module.reads_pixels or any(spec not in kept and spec.source == "views" for spec in specs)
    if folder is None:
        return
    paths = dict.fromkeys(path for instance in instances for path in instance.views if path is not None)
    keys = picture_digests(paths, collator.max_pixels) if paths else {}
    mask_views(instances, {path: "gone since set-up" for path in paths if path not in keys})
    for spec in kept:
        collator.lookups.update(_look_up(spec, folder, instances, keys, collator, module.device))
    if collator.reads_pixels and keys and keeps_all:
        collator.pixel_rows = _keep_pixels(folder, keys, collator)


def _look_up(
    spec: Precomputed,
    folder: Path,
    instances: Sequence[Instance],
    keys: Mapping[Path, str],
    collator: Collator,
    device: torch.device,
) -> dict[str, TextRows | ViewRows]:
    """Fill the store of one kind of rows; where to find them, or nothing if there is no picture."""
    if spec.source in ("text", "tokens"):
        return {spec.name: _look_up_text(spec, folder, instances, collator.pad_id)}
    views = [instance.views[:1] if spec.source == "picture" else instance.views for instance in instances]
    files = {keys[path]: path for row in views for path in row if path is not None}
    if not files:
        return {}
    transform = {"resize": collator.resize, "image_size": collator.schema.image_size}
    store = RowStore(folder, _title(spec), {**spec.identity, **transform})
    with torch.no_grad():
        store.fill(files, lambda some: _decode(some, collator), lambda pixels: _compute(spec, pixels.to(device)))
    return {spec.name: ViewRows(store, keys, spec.source == "picture")}


def _compute(spec: Precomputed, pixels: Tensor) -> Tensor:
    """Rows of pictures (pictures, 3, height, width), computed as many at a time as ever.

    Kernels are chosen by the size of a batch and round differently: the rows of a last, smaller batch, or of one that
    an interruption made smaller, would not be those of the same pictures in other company.
    """
    missing = FILL_BATCH - len(pixels)
    return spec.compute(torch.cat([pixels, pixels.new_zeros(missing, *pixels.shape[1:])]))[: len(pixels)]


def _look_up_text(spec: Precomputed, folder: Path, instances: Sequence[Instance], pad_id: int) -> TextRows:
    """Fill the store of rows of texts, or of tokens."""
    store = RowStore(folder, _title(spec), spec.identity)
    with torch.no_grad():
        if spec.source == "text":
            texts = {_words_key(instance): " ".join(instance.post.words) for instance in instances}
            store.fill(texts, list, spec.compute)
            return TextRows(store, _words_key)
        encoded = {_tokens_key(instance): instance.text for instance in instances}
        store.fill(encoded, lambda some: pad_tokens(some, pad_id), spec.compute)
    return TextRows(store, _tokens_key)


def _keep_pixels(folder: Path, keys: Mapping[Path, str], collator: Collator) -> ViewRows:
    """Decoded views of all files, (3 * height * width) uint8 each."""
    size = collator.schema.image_size
    store = RowStore(folder, f"pixels-{size}", {"resize": collator.resize, "image_size": size}, torch.uint8)
    files = {key: path for path, key in keys.items()}
    store.fill(files, lambda some: _decode(some, collator), lambda pixels: pixels.flatten(1))
    return ViewRows(store, keys)


def _decode(paths: Sequence[Path], collator: Collator) -> Tensor:
    """Views of picture files, (files, 3, height, width) uint8."""
    pictures = (load_picture(path, collator.max_pixels) for path in paths)
    return torch.stack([to_view(picture, collator.schema.image_size, collator.resize) for picture in pictures])


def _title(spec: Precomputed) -> str:
    """What a folder of rows is called: by what they are, and what computed them."""
    origin = [str(spec.identity[key]) for key in ("architecture", "output") if key in spec.identity]
    return "-".join([spec.name, *origin])


def _words_key(instance: Instance) -> str:
    """What tells the words of an instance from others."""
    return hashlib.sha256(" ".join(instance.post.words).encode()).hexdigest()


def _tokens_key(instance: Instance) -> str:
    """What tells the subwords of an instance from others."""
    return hashlib.sha256(repr((instance.text.input_ids, instance.text.segment_ids)).encode()).hexdigest()
