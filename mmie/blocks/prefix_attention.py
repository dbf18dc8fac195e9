"""Prefix attention: extra keys and values before those of the text, in every layer of an encoder.

It is an attention function registered with transformers under the name `PREFIX_ATTENTION`. An
encoder loaded with that implementation passes the keyword ``prefix`` down to it, so that no model
code is copied.

Source: Li & Liang, Prefix-Tuning, ACL 2021 (https://arxiv.org/abs/2101.00190), Equation 3.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mmie.blocks.dropout import attend_with_dropout, cheap_dropout_applies

PREFIX_ATTENTION = "mmie_prefix_attention"


@dataclass(slots=True)
class Prefix:
    """Keys and values that a method puts before those of the text, one pair per layer.

    Attributes:
        keys: (layers, batch, heads, prefix, head_size)
        values: (layers, batch, heads, prefix, head_size)
        mask: (batch, prefix), or (batch, heads, prefix) if heads differ: bool, True on positions
            that may be attended to; None if all may.
        layers: Keys and values of each layer, (batch, heads, prefix, head_size) each. They are
            unbound once because indexing the whole tensor in every layer would make each layer's
            gradient as large as that of all layers.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None = None
    layers: tuple[tuple[Tensor, Tensor], ...] = field(init=False)

    def __post_init__(self) -> None:
        self.layers = tuple(zip(self.keys.unbind(), self.values.unbind(), strict=True))

    @property
    def length(self) -> int:
        """Number of prefix positions."""
        return self.keys.shape[-2]


def split_heads(states: Tensor, num_heads: int) -> Tensor:
    """Split states (..., positions, hidden) into heads (..., heads, positions, head_size).

    Each head is a slice of ``hidden``.
    """
    *leading, positions, hidden = states.shape
    return states.view(*leading, positions, num_heads, hidden // num_heads).transpose(-3, -2)


def prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    prefix: Prefix | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute attention over the prefix and the text.

        softmax(Q [P_k ; K]^T / sqrt(head_size)) [P_v ; V]

    Without a prefix, or with one of length 0, this is transformers' own scaled dot-product
    attention, except that dropout on a CPU draws cheaper random numbers. A masked prefix position
    has weight 0.

    Args:
        module: Attention module of the layer; its ``layer_idx`` selects the layer's keys and
            values.
        query: (batch, heads, tokens, head_size)
        key: (batch, heads, tokens, head_size)
        value: (batch, heads, tokens, head_size)
        attention_mask: (batch, 1, tokens, tokens) bool, or None if every token may attend to every
            other.
        prefix: The prefix of all layers.
        **kwargs: Settings that are passed on: dropout, scaling.

    Returns:
        (batch, tokens, heads, head_size), and None in place of the weights.
    """
    if prefix is not None and prefix.length > 0:
        prefix_keys, prefix_values = prefix.layers[int(module.layer_idx)]  # type: ignore[arg-type]
        # (batch, heads, prefix + tokens, head_size) each
        key = torch.cat([prefix_keys.to(key.dtype), key], dim=2)
        value = torch.cat([prefix_values.to(value.dtype), value], dim=2)
        attention_mask = _extend_mask(attention_mask, prefix, query)
    dropout = kwargs.get("dropout")
    if (
        dropout
        and cheap_dropout_applies(query)
        and _is_plain(module, query, key, attention_mask, kwargs)
    ):
        attended = attend_with_dropout(
            query, key, value, attention_mask, dropout, kwargs.get("scaling")
        )  # (batch, heads, tokens, head_size)
        return attended.transpose(1, 2).contiguous(), None
    output: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, **kwargs
    )
    return output


@contextmanager
def watch_prefixes() -> Iterator[dict[int, Tensor]]:
    """Record the attention mass on every prefix position, as `prefix_mass` computes it.

    The function replaces `prefix_attention` in the whole process while the context is open, so that
    attention costs nothing more outside it. Not thread-safe.

    Yields:
        The masses by layer, which each pass of the encoder with a prefix overwrites.
    """
    masses: dict[int, Tensor] = {}

    def recording_attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        prefix: Prefix | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        if prefix is not None and prefix.length > 0:
            layer = int(module.layer_idx)  # type: ignore[arg-type]
            masses[layer] = prefix_mass(
                query, key, attention_mask, prefix, layer, kwargs.get("scaling")
            )
        return prefix_attention(module, query, key, value, attention_mask, prefix, **kwargs)

    AttentionInterface.register(PREFIX_ATTENTION, recording_attention)
    try:
        yield masses
    finally:
        AttentionInterface.register(PREFIX_ATTENTION, prefix_attention)


def prefix_mass(
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | None,
    prefix: Prefix,
    layer: int,
    scaling: float | None = None,
) -> Tensor:
    """Compute the share of every token's attention in `prefix_attention` on each prefix position.

    Args:
        query: (batch, heads, tokens, head_size)
        key: (batch, heads, tokens, head_size)
        attention_mask: (batch, 1, tokens, tokens) bool, or None.
        prefix: The prefix of all layers.
        layer: Index of the layer.
        scaling: Factor of the scores; 1 / sqrt(head_size) if None.

    Returns:
        (batch, heads, tokens, prefix) float32
    """
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    prefix_keys = prefix.layers[layer][0].float()  # (batch, heads, prefix, head_size)
    keys = torch.cat(
        [prefix_keys, key.float()], dim=2
    )  # (batch, heads, prefix + tokens, head_size)
    scores = (
        query.float() @ keys.transpose(2, 3) * scaling
    )  # (batch, heads, tokens, prefix + tokens)
    mask = _extend_mask(attention_mask, prefix, query)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1)[..., : prefix.length]


def _is_plain(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | None,
    settings: dict[str, Any],
) -> bool:
    """Tell whether this is attention with a bool mask, dropout and scaling, and nothing else.

    Causal attention and fewer heads of keys than of queries are not plain.
    """
    active = {name for name, value in settings.items() if value is not None and value is not False}
    is_causal = attention_mask is None and getattr(module, "is_causal", True)
    has_bool_mask = attention_mask is None or attention_mask.dtype == torch.bool
    has_equal_heads = key.shape[1] == query.shape[1]
    return not is_causal and has_bool_mask and has_equal_heads and active <= {"dropout", "scaling"}


def _extend_mask(attention_mask: Tensor | None, prefix: Prefix, query: Tensor) -> Tensor | None:
    """Put the prefix's mask before the text's.

    Returns:
        (batch, 1 or heads, tokens, prefix + tokens) bool; None if nothing is masked.
    """
    if attention_mask is None and prefix.mask is None:
        return None
    batch, _, tokens, _ = query.shape
    prefix_mask = prefix.mask
    if prefix_mask is None:
        prefix_mask = query.new_ones(batch, prefix.length, dtype=torch.bool)  # (batch, prefix)
    # (batch, 1 or heads, 1, prefix)
    prefix_mask = prefix_mask.view(batch, -1, 1, prefix_mask.shape[-1])
    if attention_mask is None:
        attention_mask = query.new_ones(batch, 1, tokens, tokens, dtype=torch.bool)
    shape = (batch, prefix_mask.shape[1], tokens)
    return torch.cat([prefix_mask.expand(*shape, -1), attention_mask.expand(*shape, -1)], dim=-1)


AttentionInterface.register(PREFIX_ATTENTION, prefix_attention)
AttentionMaskInterface.register(PREFIX_ATTENTION, sdpa_mask)
