"""Attention and pooling that skip what is masked, and give 0 where everything is."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.prefix_attention import split_heads


def masked_softmax(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Softmax over the positions that are not masked; 0 on the others, and everywhere if all are masked.

    Args:
        scores: Any shape, finite.
        mask: Bool, broadcastable to ``scores``, True on what takes part.
        dim: Axis of the softmax.
    """
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim)
    return weights * mask


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of states (..., positions, hidden) over the positions that ``mask`` (..., positions) leaves; 0 if none."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(-2) / weights.sum(-2).clamp(min=1)


def attend_heads(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, num_heads: int
) -> Tensor:
    """softmax(Q K^T / sqrt(head_size)) V, each head over its slice of ``hidden``, the heads' results side by side.

    A row whose keys are all masked attends to all of them, so that nothing is NaN: its result is for the caller to
    drop.

    Args:
        queries: (batch, queries, hidden)
        keys: (batch, positions, hidden)
        values: (batch, positions, hidden)
        mask: (batch, positions) bool, True on positions that may be attended to.
        num_heads: Heads; must divide ``hidden``.

    Returns:
        (batch, queries, hidden)
    """
    opened = mask | ~mask.any(-1, keepdim=True)  # (batch, positions)
    attended = functional.scaled_dot_product_attention(
        split_heads(queries, num_heads),
        split_heads(keys, num_heads),
        split_heads(values, num_heads),
        attn_mask=opened[:, None, None, :],
    )  # (batch, heads, queries, head_size)
    return attended.transpose(1, 2).flatten(2)


class AttentionPooling(nn.Module):
    """sum_i softmax_i(w . x_i) x_i: a learned weighted mean.

    Source: Lin et al., A Structured Self-Attentive Sentence Embedding, ICLR 2017, with one linear score.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.score = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """(batch, positions, hidden), (batch, positions) bool -> (batch, hidden)."""
        weights = masked_softmax(self.score(states).squeeze(-1), mask)  # (batch, positions)
        return torch.einsum("bp,bph->bh", weights, states)


class MultiHeadAttention(nn.Module):
    """softmax(Q K^T / sqrt(head_size)) V over heads, with projections before and after; 0 where all keys are masked.

    Args:
        hidden_size: Width of queries, keys and values.
        num_heads: Heads; must divide ``hidden_size``.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, states: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Attend from ``states`` to ``memory``.

        Args:
            states: (batch, queries, hidden)
            memory: (batch, positions, hidden)
            mask: (batch, positions) bool, True on positions that may be attended to.

        Returns:
            (batch, queries, hidden)
        """
        attended = attend_heads(
            self.query(states), self.key(memory), self.value(memory), mask, self.num_heads
        )
        result: Tensor = self.output(attended) * mask.any(-1)[:, None, None]
        return result
