"""Features and pixels of a split's instances, read from caches."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmie.blocks.features import FeatureSpec, attach_features
from mmie.data.batching import pad_tokens
from mmie.data.instances import Instance
from mmie.data.picture_audit import forget_picture
from mmie.data.pictures import ImageTransform, PictureError
from mmie.training.features.cache import FILL_BATCH, FeatureCache, FeatureCacheError
from mmie.types import Batch


@dataclass(slots=True)
class CachedFeatureProvider:
    """Features and pixels of instances, read from caches that `fill` has filled.

    Worker processes receive copies, which map the files themselves and hold no weights.

    Attributes:
        specs: Features that are read from a cache.
        caches: Their caches, by name.
        picture_keys: Digest of the content of each readable picture file.
        reads_pixels: Whether batches hold pixels.
        pixel_cache: Cache of decoded views; None decodes the files.
    """

    specs: list[FeatureSpec] = field(default_factory=list)
    caches: dict[str, FeatureCache] = field(default_factory=dict)
    picture_keys: Mapping[Path, str] = field(default_factory=dict)
    reads_pixels: bool = True
    pixel_cache: FeatureCache | None = None

    def pixels(self, instances: Sequence[Instance], transform: ImageTransform) -> Tensor | None:
        """Return the cached views of instances, (batch, views, 3, size, size) uint8, or None."""
        if self.pixel_cache is None:
            return None
        paths = chain.from_iterable(instance.views for instance in instances)
        rows = self.pixel_cache.rows(list(map(self._picture_key, paths)))
        return rows.view(len(instances), -1, 3, transform.size, transform.size)

    def attach(self, batch: Batch, instances: Sequence[Instance]) -> Batch:
        """Add the cached features of the batch's instances."""

        def rows(spec: FeatureSpec) -> Tensor:
            cache = self.caches[spec.name]
            if not spec.is_visual:
                return cache.rows([text_key(spec, instance) for instance in instances])
            keys: list[str | None] = []
            for instance, mask in zip(instances, spec.view_mask(batch), strict=True):
                readable = compress(instance.views, mask.tolist())
                keys += map(self._picture_key, readable)
            return cache.rows(keys)

        return attach_features(batch, self.specs, rows)

    def _picture_key(self, path: Path | None) -> str | None:
        """Return the key of a picture's rows, or None for an instance without the view."""
        return None if path is None else self.picture_keys[path]


def fill_features(
    spec: FeatureSpec,
    folder: Path,
    instances: Sequence[Instance],
    picture_keys: Mapping[Path, str],
    transform: ImageTransform,
    pad_id: int,
    device: torch.device,
) -> FeatureCache | None:
    """Fill the cache of one specification with the rows of instances.

    Args:
        spec: The features.
        folder: Folder of all caches.
        instances: What is going to be read.
        picture_keys: Digest of the content of each readable picture file.
        transform: Conversion of pictures to views.
        pad_id: Id that pads shorter texts.
        device: Where to compute.

    Returns:
        The cache; None if the features are visual and no instance has a readable picture.
    """
    if spec.source == "text":
        cache = FeatureCache(folder, _title(spec), spec.identity)
        texts = {text_key(spec, instance): _words(instance) for instance in instances}
        cache.fill(texts, list, _without_gradient(spec.compute))
        return cache
    if spec.source == "tokens":
        cache = FeatureCache(folder, _title(spec), spec.identity)
        encoded = {text_key(spec, instance): instance.text for instance in instances}
        cache.fill(
            encoded, lambda texts: pad_tokens(texts, pad_id), _without_gradient(spec.compute)
        )
        return cache
    count = spec.num_images if spec.source == "picture" else None
    files: dict[str, Path] = {}
    for instance in instances:
        for path in instance.views[:count]:
            if path is not None:
                files[picture_keys[path]] = path
    if not files:
        return None
    settings = {"resize": transform.resize, "image_size": transform.size}
    cache = FeatureCache(folder, _title(spec), {**spec.identity, **settings})
    compute = _in_full_batches(spec.compute)
    cache.fill(
        files,
        lambda some: decode_views(some, transform, picture_keys),
        _without_gradient(lambda pixels: compute(pixels.to(device))),
    )
    return cache


def fill_pixels(
    folder: Path, picture_keys: Mapping[Path, str], transform: ImageTransform
) -> FeatureCache:
    """Fill the cache of decoded views, (3 * size * size) uint8 each."""
    settings = {"resize": transform.resize, "image_size": transform.size}
    cache = FeatureCache(folder, f"pixels-{transform.size}", settings, torch.uint8)
    files = {key: path for path, key in picture_keys.items()}
    cache.fill(
        files,
        lambda some: decode_views(some, transform, picture_keys),
        lambda pixels: pixels.flatten(1),
    )
    return cache


def decode_views(
    paths: Sequence[Path], transform: ImageTransform, picture_keys: Mapping[Path, str]
) -> Tensor:
    """Decode picture files to views, (files, 3, size, size) uint8.

    Args:
        paths: The files.
        transform: Conversion of pictures to views.
        picture_keys: Digest of the content of each file, under which its row will be kept.

    Raises:
        FeatureCacheError: A file cannot be read, or has changed since its digest was computed.
    """
    views: list[Tensor] = []
    for path in paths:
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != picture_keys[path]:
                forget_picture(path)
                raise FeatureCacheError(
                    f"{path} has changed since it was checked: run the same command again"
                )
            views.append(transform(content))
        except (OSError, PictureError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FeatureCacheError(
                f"{path} cannot be read any more ({reason}): run the same command again"
            ) from error
    return torch.stack(views)


def text_key(spec: FeatureSpec, instance: Instance) -> str:
    """Return a digest of the words, or of the tokens, that an instance's row is computed from."""
    if spec.source == "text":
        content = _words(instance)
    else:
        content = repr((instance.text.input_ids, instance.text.token_type_ids))
    return hashlib.sha256(content.encode()).hexdigest()


def _words(instance: Instance) -> str:
    """Join the words of an instance."""
    return " ".join(instance.post.words)


def _title(spec: FeatureSpec) -> str:
    """Name a cache by its features and the architecture that computed them."""
    origin = [str(spec.identity[key]) for key in ("architecture", "output") if key in spec.identity]
    return "-".join([spec.name, *origin])


def _without_gradient(compute: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """Wrap a function so that it computes without a graph."""
    return torch.no_grad()(compute)


def _in_full_batches(compute: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Wrap a function of pictures so that every call has the same number of pictures.

    Kernels are chosen by the size of a batch and round differently: without padding, the rows of a
    last, smaller batch would not equal those of the same pictures in another one.
    """

    def compute_padded(pixels: Tensor) -> Tensor:
        missing = FILL_BATCH - len(pixels)
        padded = torch.cat([pixels, pixels.new_zeros(missing, *pixels.shape[1:])])
        return compute(padded)[: len(pixels)]

    return compute_padded
