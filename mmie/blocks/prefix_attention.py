"""Prefix attention: extra keys and values before those of the text, in every layer of an encoder.

It is an attention function registered with transformers under the name `PREFIX_ATTENTION`. An encoder loaded with
that implementation hands the keyword ``prefix`` down to it; no model code is copied.

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

from mmie.blocks.dropout import attend_with_dropout, is_cheap_on

PREFIX_ATTENTION = "mmie_prefix_attention"


@dataclass(slots=True)
class Prefix:
    """Keys and values that a method puts before those of the text, one pair per layer.

    Attributes:
        keys: (layers, batch, heads, prefix, head_size)
        values: (layers, batch, heads, prefix, head_size)
        mask: (batch, prefix), or (batch, heads, prefix) where heads differ: bool, True on positions that may be
            attended to; None if all may.
        layers: Keys and values of each layer, (batch, heads, prefix, head_size) each. They are taken apart once: to
            index the whole in every layer would make each layer's gradient as large as all of them.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None = None
    layers: tuple[tuple[Tensor, Tensor], ...] = field(init=False)

    def __post_init__(self) -> None:
        self.layers = tuple(zip(self.keys.unbind(), self.values.unbind(), strict=True))


def split_heads(states: Tensor, num_heads: int) -> Tensor:
    """(..., positions, hidden) -> (..., heads, positions, head_size), each head a slice of ``hidden``."""
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
    """softmax(Q [P_k ; K]^T / sqrt(head_size)) [P_v ; V], by scaled dot-product attention.

    Without a prefix, or with one of length 0, this is transformers' own attention, save that dropout on a CPU draws
    cheaper random numbers. A masked prefix position gets no weight at all.

    Args:
        module: The layer's attention module; its ``layer_idx`` picks the layer's keys and values.
        query: (batch, heads, tokens, head_size)
        key: (batch, heads, tokens, head_size)
        value: (batch, heads, tokens, head_size)
        attention_mask: (batch, 1, tokens, tokens) bool, or None if every token may attend to every other.
        prefix: The prefix of all layers.
        **kwargs: Handed on: dropout, scaling.

    Returns:
        (batch, tokens, heads, head_size), and None in place of the weights.
    """
    if prefix is not None and prefix.keys.shape[-2] > 0:
        prefix_keys, prefix_values = prefix.layers[int(module.layer_idx)]  # type: ignore[arg-type]
        key = torch.cat(
            [prefix_keys.to(key.dtype), key], dim=2
        )  # (batch, heads, prefix + tokens, head_size)
        value = torch.cat([prefix_values.to(value.dtype), value], dim=2)
        attention_mask = _extend_mask(attention_mask, prefix, query)
    if (
        kwargs.get("dropout")
        and is_cheap_on(query)
        and _is_plain(module, query, key, attention_mask, kwargs)
    ):
        attended = attend_with_dropout(
            query, key, value, attention_mask, kwargs["dropout"], kwargs.get("scaling")
        )
        return attended.transpose(1, 2).contiguous(), None
    output: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, **kwargs
    )
    return output


@contextmanager
def watch_prefixes() -> Iterator[dict[int, Tensor]]:
    """While it is open, keep the attention mass on every prefix position, by layer, as `prefix_mass` computes it.

    A later pass of the encoder replaces what an earlier one left; one without a prefix leaves nothing. It takes the
    place of `prefix_attention` for the whole process, so that this costs nothing where nobody watches: not for several
    threads at once.
    """
    masses: dict[int, Tensor] = {}

    def watch(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        prefix: Prefix | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        if prefix is not None and prefix.keys.shape[-2] > 0:
            layer = int(module.layer_idx)  # type: ignore[arg-type]
            masses[layer] = prefix_mass(
                query, key, attention_mask, prefix, layer, kwargs.get("scaling")
            )
        return prefix_attention(module, query, key, value, attention_mask, prefix, **kwargs)

    AttentionInterface.register(PREFIX_ATTENTION, watch)
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
    """Share of every token's attention that goes to each prefix position: `prefix_attention`'s softmax, spelled out.

    Args:
        query: (batch, heads, tokens, head_size)
        key: (batch, heads, tokens, head_size)
        attention_mask: (batch, 1, tokens, tokens) bool, or None.
        prefix: The prefix of all layers.
        layer: The layer.
        scaling: Factor of the scores; 1 / sqrt(head_size) if None.

    Returns:
        (batch, heads, tokens, prefix) float32
    """
    before = prefix.layers[layer][0].float()  # (batch, heads, prefix, head_size)
    keys = torch.cat([before, key.float()], dim=2)  # (batch, heads, prefix + tokens, head_size)
    scores = (
        query.float()
        @ keys.transpose(2, 3)
        * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    )
    mask = _extend_mask(attention_mask, prefix, query)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1)[..., : before.shape[2]]


def _is_plain(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | None,
    settings: dict[str, Any],
) -> bool:
    """Whether this is attention to all that a mask leaves, with as many heads of keys as of queries."""
    asked = {name for name, value in settings.items() if value is not None and value is not False}
    is_causal = attention_mask is None and getattr(module, "is_causal", True)
    is_masked_by_bool = attention_mask is None or attention_mask.dtype == torch.bool
    return (
        not is_causal
        and is_masked_by_bool
        and key.shape[1] == query.shape[1]
        and asked <= {"dropout", "scaling"}
    )


def _extend_mask(attention_mask: Tensor | None, prefix: Prefix, query: Tensor) -> Tensor | None:
    """(batch, 1 or heads, tokens, prefix + tokens) bool; None where nothing is masked."""
    if attention_mask is None and prefix.mask is None:
        return None
    batch, _, tokens, _ = query.shape
    before = prefix.mask
    if before is None:
        before = query.new_ones(batch, prefix.keys.shape[-2], dtype=torch.bool)
    before = before.view(batch, -1, 1, before.shape[-1])  # (batch, 1 or heads, 1, prefix)
    if attention_mask is None:
        attention_mask = query.new_ones(batch, 1, tokens, tokens, dtype=torch.bool)
    shape = (batch, before.shape[1], tokens)
    return torch.cat([before.expand(*shape, -1), attention_mask.expand(*shape, -1)], dim=-1)


AttentionInterface.register(PREFIX_ATTENTION, prefix_attention)
AttentionMaskInterface.register(PREFIX_ATTENTION, sdpa_mask)
