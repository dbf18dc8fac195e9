"""Features that can be cached because training does not change them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from mmie.blocks.text_encoder import TextEncoder
from mmie.blocks.vision import VisualBackbone
from mmie.blocks.weights import digest_weights
from mmie.types import Batch

FeatureSource = Literal["views", "picture", "text", "tokens"]


def _unavailable(_: Any) -> Tensor:
    """Stand in for a function that another process computes with."""
    raise RuntimeError("this copy of a feature specification cannot compute")


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Specification of features that can be cached because training does not change them.

    Attributes:
        name: Key of the features in `Batch.features`.
        source: What a row is computed from: one of the ``views``, a whole ``picture``, the ``text``
            of the words, or the ``tokens``, markers and context included.
        identity: Everything that a row depends on beside its source.
        compute: Rows (sources, width) of uint8 RGB pictures (sources, 3, height, width), of a list
            of texts, or of ids, mask and token types of tokens, (sources, tokens) each.
        training_only: The features are used in training alone.
        required: The method cannot compute the features itself from `Batch.pixels`.
        num_images: Whole pictures of a post that have a row each, for ``picture``.
    """

    name: str
    source: FeatureSource
    identity: Mapping[str, Any]
    compute: Callable[[Any], Tensor]
    training_only: bool = False
    required: bool = False
    num_images: int = 1

    @property
    def is_visual(self) -> bool:
        """Whether the rows are computed from pictures."""
        return self.source in ("views", "picture")

    def view_mask(self, batch: Batch) -> Tensor:
        """Return the mask of views with a row.

        Returns:
            (batch, views) bool, (batch, pictures) for ``picture``.
        """
        return batch.view_mask if self.source == "views" else batch.view_mask[:, : self.num_images]

    def without_compute(self) -> Self:
        """Return a copy that worker processes can receive: it has no function and no weights."""
        return replace(self, compute=_unavailable)


RowProvider = Callable[[FeatureSpec], Tensor | None]
"""Returns the rows of a batch's sources, (sources, width); None if they are unavailable.

For visual features the sources are the readable views, in the order of `FeatureSpec.view_mask`;
for the others, the posts.
"""


def attach_features(batch: Batch, specs: Sequence[FeatureSpec], provider: RowProvider) -> Batch:
    """Add the features of some specifications to a batch.

    Args:
        batch: The batch.
        specs: The features to add.
        provider: Returns the rows.

    Returns:
        The batch with features (batch, views, width) for ``views``, (batch, pictures, width) for
        more than one ``picture``, and (batch, width) for the other sources, 0 where a view is
        masked. Features without rows are left out.
    """
    features = dict(batch.features)
    for spec in specs:
        rows = provider(spec)
        if rows is None:
            continue
        if spec.is_visual:
            mask = spec.view_mask(batch)  # (batch, views)
            spread = rows.new_zeros(*mask.shape, rows.shape[1])  # (batch, views, width)
            spread[mask] = rows
            is_single = spec.source == "picture" and spec.num_images == 1
            rows = spread.squeeze(1) if is_single else spread
        features[spec.name] = rows
    return replace(batch, features=features)


def backbone_feature_spec(backbone: VisualBackbone, name: str) -> FeatureSpec:
    """Specify a frozen backbone's features of all views.

    Args:
        backbone: The backbone.
        name: Key of the features in `Batch.features`.
    """

    def compute(pixels: Tensor) -> Tensor:
        device = pixels.device.type
        # on a CPU, bfloat16 is computed with where an extraction asks for it
        half = torch.float16 if pixels.is_cuda else torch.bfloat16
        enabled = pixels.is_cuda or torch.is_autocast_enabled(device)
        with torch.autocast(device, half, enabled=enabled):
            return backbone.flatten(backbone(pixels))

    identity: dict[str, Any] = {**backbone.identity()}
    # folded weights round differently, so that rows computed without folding are not mixed in
    if backbone.folds_batch_norms:
        identity["batch_norms"] = "folded"
    return FeatureSpec(name, "views", identity, compute)


def text_feature_spec(
    encoder: TextEncoder, name: str, pick: Callable[[Tensor], Tensor], **settings: object
) -> FeatureSpec:
    """Specify features of a frozen text encoder's states without a prefix.

    Args:
        encoder: The text encoder.
        name: Key of the features in `Batch.features`.
        pick: States (sources, tokens, hidden), 0 on padding, to rows (sources, width).
        **settings: What the rows depend on beside the states.
    """

    def compute(tokens: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        device = encoder.model.device
        ids, mask, types = (part.to(device) for part in tokens)
        return pick(encoder(ids, mask, types) * mask.unsqueeze(-1))

    identity = {"weights": digest_weights(encoder), **settings}
    return FeatureSpec(name, "tokens", identity, compute)


def cached_or_computed_features(backbone: VisualBackbone, name: str, batch: Batch) -> list[Tensor]:
    """Return a backbone's features of a batch: the cached ones, or else computed now.

    Args:
        backbone: The backbone.
        name: Key of cached features in `Batch.features`.
        batch: The batch; its pixels are read if it has no such features.

    Returns:
        One (batch, views, ...) per output of the backbone.
    """
    if name in batch.features:
        return backbone.unflatten(batch.features[name])
    return backbone.encode_views(batch.pixels, batch.view_mask, batch.readable)
