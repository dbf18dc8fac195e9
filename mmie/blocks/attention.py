"""Attention and pooling that ignore masked positions and return 0 where all are masked."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.prefix_attention import split_heads


def masked_softmax(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Compute a softmax over the unmasked positions, with weight 0 on masked ones.

    If all positions are masked, all weights are 0.

    Args:
        scores: Any shape, finite.
        mask: Bool, broadcastable to ``scores``, True on positions that take part.
        dim: Axis of the softmax.

    Returns:
        Weights in the shape of ``scores``.
    """
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim)
    return weights * mask


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Compute the mean state over the unmasked positions, 0 if there are none.

    Args:
        states: (..., positions, hidden)
        mask: (..., positions) bool, True on positions that take part.

    Returns:
        (..., hidden)
    """
    weights = mask.unsqueeze(-1).to(states.dtype)  # (..., positions, 1)
    return (states * weights).sum(-2) / weights.sum(-2).clamp(min=1)


def attend_heads(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, num_heads: int
) -> Tensor:
    """Compute softmax(Q K^T / sqrt(head_size)) V in each head over its slice of ``hidden``.

    A row whose keys are all masked attends to all of them, which avoids NaN; the caller must
    discard its result.

    Args:
        queries: (batch, queries, hidden)
        keys: (batch, positions, hidden)
        values: (batch, positions, hidden)
        mask: (batch, positions) bool, True on positions that may be attended to.
        num_heads: Heads; must divide ``hidden``.

    Returns:
        (batch, queries, hidden), the results of the heads side by side.
    """
    allowed = mask | ~mask.any(-1, keepdim=True)  # (batch, positions)
    attended = functional.scaled_dot_product_attention(
        split_heads(queries, num_heads),
        split_heads(keys, num_heads),
        split_heads(values, num_heads),
        attn_mask=allowed[:, None, None, :],
    )  # (batch, heads, queries, head_size)
    return attended.transpose(1, 2).flatten(2)


class AttentionPooling(nn.Module):
    """Learned weighted mean sum_i softmax_i(w . x_i) x_i.

    Source: Lin et al., A Structured Self-Attentive Sentence Embedding, ICLR 2017, with one linear
    score.

    Args:
        hidden_size: Width of the states.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.score = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool states.

        Args:
            states: (batch, positions, hidden)
            mask: (batch, positions) bool, True on positions that take part.

        Returns:
            (batch, hidden)
        """
        weights = masked_softmax(self.score(states).squeeze(-1), mask)  # (batch, positions)
        return torch.einsum("bp,bph->bh", weights, states)


class MultiHeadAttention(nn.Module):
    """Multi-head attention softmax(Q K^T / sqrt(head_size)) V with projections before and after.

    The result is 0 where all keys are masked.

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
        )  # (batch, queries, hidden)
        result: Tensor = self.output(attended) * mask.any(-1)[:, None, None]
        return result
