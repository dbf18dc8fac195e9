"""The callback that gives a method what was computed before: cached features, or decoded pictures.

==========================  ==========================================  =======================
a method that               reads                                       the cache holds
==========================  ==========================================  =======================
uses no images              no picture at all
has a frozen backbone       features                                    a row for each picture
trains on pixels            uint8 views; normalised on the device       a row for each picture
==========================  ==========================================  =======================
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from mmie.blocks.features import FeatureSpec
from mmie.data import MultimodalDataModule
from mmie.data.instances import Instance, mask_views
from mmie.data.picture_audit import cache_folder, picture_digests
from mmie.methods import ExtractionModule
from mmie.training.features.provider import CachedFeatureProvider, fill_features, fill_pixels
from mmie.training.sharding import full_weights
from mmie.types import MmieError


class FeatureCacheRequired(MmieError, ValueError):
    """A method needs cached features where nothing may be cached."""


def default_feature_cache() -> Path:
    """Return the folder ``$MMIE_CACHE/features``, or ``~/.cache/mmie/features``."""
    return cache_folder() / "features"


class FeatureCacheCallback(Callback):
    """Makes the data module read what a method needs and no more, from a cache where possible.

    Args:
        folder: Folder of the caches; None caches nothing: pictures are decoded in every epoch.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the data module a source of features.

        It is asked when the loaders are made, after the weights of a checkpoint are loaded.

        Raises:
            FeatureCacheRequired: The method cannot do without a cache.
        """
        data = getattr(trainer, "datamodule", None)
        if not isinstance(pl_module, ExtractionModule) or not isinstance(
            data, MultimodalDataModule
        ):
            return
        if self.folder is None and stage == "fit":
            _check_optional(pl_module.feature_specs())
        is_trial = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
        data.feature_provider = FeatureProviderFactory(pl_module, data, self.folder, is_trial)


def fill_feature_caches(
    module: ExtractionModule, data: MultimodalDataModule, folder: Path, device: torch.device
) -> None:
    """Compute all that fits and tests of a method on a corpus will read, ahead of them.

    Args:
        module: The method, with the weights that it will be run with.
        data: Its data.
        folder: Folder of the caches.
        device: Where to compute.
    """
    module.to(device).eval()
    data.feature_provider = FeatureProviderFactory(module, data, folder)
    loaders = {
        "train": data.train_dataloader,
        "valid": data.val_dataloader,
        "test": data.test_dataloader,
    }
    for stage, splits in (("fit", ("train", "valid")), ("test", ("test",))):
        if set(splits) <= set(data.corpus.splits):
            data.setup(stage)
            for split in splits:
                loaders[split]()


@dataclass(frozen=True, slots=True)
class FeatureProviderFactory:
    """Fills the caches for a split and returns what reads them.

    Attributes:
        module: The method.
        data: Its data.
        folder: Folder of the caches; None caches nothing.
        is_trial: Cache only what the method requires, as in a ``fast_dev_run``.
    """

    module: ExtractionModule
    data: MultimodalDataModule
    folder: Path | None
    is_trial: bool = False

    def __call__(self, instances: Sequence[Instance], training: bool) -> CachedFeatureProvider:
        """Fill the caches for instances, and mask views whose files have vanished.

        With random crops, all crops of the instances count as read.

        Args:
            instances: Those instances of a split that are read.
            training: Whether the instances are trained on.
        """
        specs = [spec for spec in self.module.feature_specs() if training or not spec.training_only]
        cached = [] if self.folder is None else specs
        if self.is_trial:
            cached = [spec for spec in cached if spec.required]
        lacks_views = any(spec.source == "views" and spec not in cached for spec in specs)
        provider = CachedFeatureProvider(reads_pixels=self.module.reads_pixels or lacks_views)
        if self.folder is None:
            return provider
        provider.picture_keys = self._picture_keys(instances)
        for spec in cached:
            with full_weights(self.data.trainer):
                cache = fill_features(
                    spec,
                    self.folder,
                    instances,
                    provider.picture_keys,
                    self.data.transform,
                    self.data.tokenizer.pad_id,
                    self.module.device,
                )
            if cache is not None:
                provider.specs.append(spec.without_compute())
                provider.caches[spec.name] = cache
        if provider.reads_pixels and provider.picture_keys and not self.is_trial:
            provider.pixel_cache = fill_pixels(
                self.folder, provider.picture_keys, self.data.transform
            )
        return provider

    def _picture_keys(self, instances: Sequence[Instance]) -> dict[Path, str]:
        """Return the digest of every readable picture. Views without one are masked."""
        views = chain.from_iterable(instance.views for instance in instances)
        paths = dict.fromkeys(path for path in views if path is not None)
        if not paths:
            return {}
        keys = picture_digests(paths, self.data.transform.max_pixels)
        mask_views(instances, {path: "gone since set-up" for path in paths if path not in keys})
        return keys


def _check_optional(specs: Sequence[FeatureSpec]) -> None:
    """Raise if features must be cached where nothing is.

    Raises:
        FeatureCacheRequired: A specification is required.
    """
    required = [spec.name for spec in specs if spec.required]
    if required:
        raise FeatureCacheRequired(
            f"feature_store is null, but {', '.join(required)} must be kept: name a folder"
        )
