"""Visual prefix as the public code of HVPNet and RSRNeT computes it.

Source: the code published with Chen et al., HVPNet, Findings of NAACL 2022,
https://arxiv.org/abs/2205.03521.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.prefix_projection import check_heads
from mmie.blocks.visual_prefix import (
    ACTIVATIONS,
    Activation,
    check_stages,
    initialise_like_bert,
)

POSITIONS = 4
"""Positions of a stage pooled to 2 x 2."""


class ReferencePrefix(nn.Module):
    """Visual prefix of the public code, for which weights trained with it give the same numbers.

    It departs from the paper in five ways:

    1. The pooled stages (sum of channels, 2, 2) are *viewed* as 4 rows, so that a row is a block of
       channels and not a position.
    2. One network Linear, Tanh, Linear, shared by stages and views, gives c chunks of width 2d for
       every row.
    3. A gate reads the mean of the chunks, all rows concatenated.
    4. The mixed chunks *are* keys and values, without a linear map per layer.
    5. The (prefix, hidden) matrix of keys or values is *viewed* as (heads, prefix, head_size)
       without a transpose: a head gets neighbouring rows in full width, not a slice of each.

    So a prefix position belongs to a different view in each head, and the mask has an axis of
    heads. The public code masks nothing; with all views readable there is no difference.

    Weights of the public code load by name: those that begin with ``encoder_conv.`` and ``gates.``.

    Args:
        channels: Channels of each stage of the backbone.
        hidden_size: Width of the text encoder (d).
        num_layers: Layers of the text encoder (N).
        num_heads: Attention heads of the text encoder.
        activation: Activation of the gates.
        crop_activation: Activation of the gates of crops, that is of the views behind the pictures,
            where it differs: RSRNeT's code has SELU for the global picture and leaky ReLU for
            crops.
        bottleneck: Inner width of the shared network.
        num_images: Views that are whole pictures.

    Raises:
        ValueError: ``num_heads`` does not divide ``hidden_size``.
    """

    def __init__(
        self,
        channels: Sequence[int],
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        activation: Activation = "leaky_relu",
        crop_activation: Activation | None = None,
        bottleneck: int = 800,
        num_images: int = 1,
    ) -> None:
        super().__init__()
        check_heads(hidden_size, num_heads)
        self.channels = tuple(channels)
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.num_images = num_images
        self.activation = ACTIVATIONS[activation]
        self.crop_activation = ACTIVATIONS[crop_activation or activation]
        width = 2 * hidden_size
        self.encoder_conv = nn.Sequential(
            nn.Linear(sum(channels), bottleneck),
            nn.Tanh(),
            nn.Linear(bottleneck, len(channels) * width),
        )
        self.gates = nn.ModuleList(
            nn.Linear(POSITIONS * width, len(channels)) for _ in range(num_layers)
        )
        self.apply(initialise_like_bert)

    def forward(self, stages: Sequence[Tensor], view_mask: Tensor) -> Prefix:
        """Compute the prefix of all layers.

        Args:
            stages: (batch, views, channels_i, 2, 2) per stage.
            view_mask: (batch, views) bool, True on readable views.

        Returns:
            A prefix of 4 positions per view; its mask is (batch, heads, prefix).
        """
        chunks = self._chunks(stages)  # (batch, views, rows, scales, 2 * hidden)
        gates = self._gates(chunks)  # (layers, batch, views, scales)
        mixed = torch.einsum("lbvs,bvpsh->lbvph", gates, chunks)
        mixed = mixed.flatten(2, 3)  # (layers, batch, prefix, 2 * hidden)
        keys, values = mixed.chunk(2, dim=-1)  # (layers, batch, prefix, hidden) each
        rows = view_mask.repeat_interleave(POSITIONS, dim=1)  # (batch, prefix)
        mask = rows.repeat_interleave(self.num_heads, dim=1)  # (batch, prefix * heads)
        mask = mask.view(len(rows), self.num_heads, -1)  # (batch, heads, prefix)
        return Prefix(self._view_heads(keys), self._view_heads(values), mask)

    def position_views(self, num_views: int) -> Tensor:
        """Return the view of each prefix position, another one in every head, (heads, prefix)."""
        rows = torch.arange(num_views).repeat_interleave(POSITIONS)  # (prefix,)
        return rows.repeat_interleave(self.num_heads).view(self.num_heads, -1)

    def gate_weights(self, stages: Sequence[Tensor]) -> Tensor:
        """Compute the weight of every scale in every layer.

        Args:
            stages: (batch, views, channels_i, 2, 2) per stage.

        Returns:
            (layers, batch, views, scales); the weights sum to one over scales.
        """
        return self._gates(self._chunks(stages))

    def _chunks(self, stages: Sequence[Tensor]) -> Tensor:
        """Compute the shared network's output, (batch, views, rows, scales, 2 * hidden)."""
        check_stages(stages, self.channels, 2)
        maps = torch.cat(list(stages), dim=2)  # (batch, views, channels, 2, 2)
        rows = maps.view(*maps.shape[:2], POSITIONS, -1)  # (batch, views, rows, channels)
        encoded = self.encoder_conv(rows)  # (batch, views, rows, scales * 2 * hidden)
        chunks: Tensor = encoded.unflatten(-1, (len(self.channels), 2 * self.hidden_size))
        return chunks

    def _gates(self, chunks: Tensor) -> Tensor:
        """Compute softmax(act(W_l mean_i chunk_i)), (layers, batch, views, scales)."""
        summary = chunks.mean(dim=3).flatten(2)  # (batch, views, rows * 2 * hidden)
        scores = [gate(summary) for gate in self.gates]  # (batch, views, scales) each
        stacked = torch.stack(scores)  # (layers, batch, views, scales)
        pictures, crops = stacked.tensor_split([self.num_images], dim=2)
        # (layers, batch, pictures, scales) and (layers, batch, crops, scales)
        activated = [self.activation(pictures), self.crop_activation(crops)]
        return torch.cat(activated, dim=2).softmax(dim=-1)

    def _view_heads(self, states: Tensor) -> Tensor:
        """View keys or values as heads without a transpose, as the public code does.

        A head is a block of neighbouring rows of the (prefix, hidden) matrix, not a slice of each
        row as in the text encoder. This is deliberate: weights of the public code expect it.

        Args:
            states: (layers, batch, prefix, hidden)

        Returns:
            (layers, batch, heads, prefix, head_size)
        """
        layers, batch, prefix, hidden = states.shape
        head_size = hidden // self.num_heads
        return states.contiguous().view(layers, batch, self.num_heads, prefix, head_size)
