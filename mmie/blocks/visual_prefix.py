"""Prefixes for every text layer from the stages of a visual backbone, mixed by gates.

Source: Chen et al., Good Visual Guidance Makes A Better Extractor: Hierarchical Visual Prefix for Multimodal Entity
and Relation Extraction (HVPNet), Findings of NAACL 2022, https://arxiv.org/abs/2205.03521, Equations 2 to 7.

`PyramidPrefix` computes what the paper says, `ReferencePrefix` what the authors' public code does. Both take the stages
pooled to 2 x 2 positions.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.prefix_projection import PrefixProjection, check_heads

Activation = Literal["leaky_relu", "selu"]
Mapping = Literal["dynamic", "one_to_three"]
POSITIONS = 4
"""Positions of a stage pooled to 2 x 2."""
_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "leaky_relu": functional.leaky_relu,
    "selu": functional.selu,
}


class PyramidPrefix(nn.Module):
    """V_i = Conv_1x1(F_i); g_l = softmax(act(W_l mean_i P(V_i))); [P_k ; P_v]_l = Linear_l(sum_i g_l,i V_i).

    The last sum is taken for each view, and the views stand in line. P is the mean over positions. A view's gates
    depend on that view alone. A 1 x 1 convolution is a linear map over channels and is written as one. W_l and the
    linear maps have biases, as in the public code.

    Args:
        channels: Channels of each stage that comes in.
        hidden_size: Width of the text encoder (d).
        num_layers: Layers of the text encoder (N).
        num_heads: Attention heads of the text encoder.
        mapping: ``dynamic`` mixes the stages by gates. ``one_to_three`` gives layer l (from 1) the stage
            ceil(l c / N) and no other: with 12 layers and 4 stages, stage i feeds layers 3i-2 to 3i.
        scales: Stages used, counted from 1.
        activation: act; leaky ReLU in HVPNet, SELU in RSRNeT.

    Raises:
        ValueError: ``scales`` or ``num_heads`` do not fit.
    """

    fixed_gates: Tensor | None

    def __init__(
        self,
        channels: Sequence[int],
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        mapping: Mapping = "dynamic",
        scales: Sequence[int] = (1, 2, 3, 4),
        activation: Activation = "leaky_relu",
    ) -> None:
        super().__init__()
        if (
            not scales
            or len(set(scales)) < len(scales)
            or not set(scales) <= set(range(1, len(channels) + 1))
        ):
            raise ValueError(
                f"scales are {list(scales)}: name different stages from 1 to {len(channels)}"
            )
        self.channels, self.scales = tuple(channels), tuple(scales)
        self.activation = _ACTIVATIONS[activation]
        self.convolutions = nn.ModuleList(
            nn.Linear(channels[scale - 1], hidden_size) for scale in scales
        )
        self.projections = PrefixProjection(hidden_size, num_layers, num_heads)
        fixed = (
            _fixed_gates(num_layers, len(scales))
            if mapping == "one_to_three" or len(scales) == 1
            else None
        )
        self.register_buffer("fixed_gates", fixed, persistent=False)
        gated_layers = (
            num_layers if fixed is None else 0
        )  # a softmax over one scale would leave its weights untrained
        self.gates = nn.ModuleList(nn.Linear(hidden_size, len(scales)) for _ in range(gated_layers))
        self.apply(_initialise)

    def forward(self, stages: Sequence[Tensor], view_mask: Tensor) -> Prefix:
        """The prefix of all layers: a view's positions stand together, views in their order.

        Args:
            stages: (batch, views, channels_i, 2, 2) per stage.
            view_mask: (batch, views) bool, True on readable views; positions of the others are masked.

        Returns:
            A prefix of 4 positions per view.
        """
        features = self._project(stages)
        gates = self._gates(features)
        mixed = torch.einsum("lbvs,bvsph->lbvph", gates, features).flatten(
            2, 3
        )  # (layers, batch, prefix, hidden)
        mask = view_mask.repeat_interleave(POSITIONS, dim=1)  # (batch, prefix)
        prefix: Prefix = self.projections(mixed, mask)
        return prefix

    def position_views(self, num_views: int) -> Tensor:
        """The view that each prefix position belongs to, the same in all heads, (heads, prefix)."""
        views = torch.arange(num_views).repeat_interleave(POSITIONS)
        return views.expand(self.projections.num_heads, -1)

    def gate_weights(self, stages: Sequence[Tensor]) -> Tensor:
        """Weight of every stage in every layer, (layers, batch, views, scales); they sum to one over scales."""
        return self._gates(self._project(stages))

    def _project(self, stages: Sequence[Tensor]) -> Tensor:
        """V_i: the used stages at the text encoder's width, (batch, views, scales, positions, hidden)."""
        _check_stages(stages, self.channels)
        used = [
            stages[scale - 1].flatten(3).transpose(2, 3) for scale in self.scales
        ]  # (batch, views, positions, C_i)
        return torch.stack(
            [convolve(stage) for convolve, stage in zip(self.convolutions, used, strict=True)],
            dim=2,
        )

    def _gates(self, features: Tensor) -> Tensor:
        """g_l = softmax(act(W_l mean_i P(V_i))), (layers, batch, views, scales)."""
        if self.fixed_gates is not None:
            batch, views = features.shape[:2]
            return self.fixed_gates[:, None, None, :].expand(-1, batch, views, -1)
        summary = features.mean(dim=(2, 3))  # (batch, views, hidden)
        return torch.stack([self.activation(gate(summary)) for gate in self.gates]).softmax(dim=-1)


class ReferencePrefix(nn.Module):
    """What the public code of HVPNet and RSRNeT computes, so that weights trained with it give the same numbers.

    It departs from the paper in five ways. The pooled stages (sum of channels, 2, 2) are *viewed* as 4 rows, so that a
    row is a block of channels and not a position. One network Linear, Tanh, Linear, shared by stages and views, gives
    c chunks of width 2d for every row. A gate reads the mean of the chunks, all rows in line. The mixed chunks *are*
    keys and values, without a linear map per layer. And the (prefix, hidden) matrix of keys or values is *viewed* as
    (heads, prefix, head_size) without a transpose: a head gets neighbouring rows in full width, not a slice of each.

    So a prefix position belongs to a different view in each head, and the mask has an axis of heads. The public code
    masks nothing; with all views readable there is no difference.

    Weights of the public code load by name: those that begin with ``encoder_conv.`` and ``gates.``.

    Args:
        channels: Channels of each stage that comes in.
        hidden_size: Width of the text encoder (d).
        num_layers: Layers of the text encoder (N).
        num_heads: Attention heads of the text encoder.
        activation: Activation of the gates.
        crop_activation: Activation of the gates of crops, that is of all views but the first, where it differs:
            RSRNeT's code has SELU for the global picture and leaky ReLU for crops.
        bottleneck: Inner width of the shared network.

    Raises:
        ValueError: ``num_heads`` does not fit.
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
    ) -> None:
        super().__init__()
        check_heads(hidden_size, num_heads)
        self.channels, self.hidden_size, self.num_heads = tuple(channels), hidden_size, num_heads
        self.activation = _ACTIVATIONS[activation]
        self.crop_activation = _ACTIVATIONS[crop_activation or activation]
        width = 2 * hidden_size
        self.encoder_conv = nn.Sequential(
            nn.Linear(sum(channels), bottleneck),
            nn.Tanh(),
            nn.Linear(bottleneck, len(channels) * width),
        )
        self.gates = nn.ModuleList(
            nn.Linear(POSITIONS * width, len(channels)) for _ in range(num_layers)
        )
        self.apply(_initialise)

    def forward(self, stages: Sequence[Tensor], view_mask: Tensor) -> Prefix:
        """The prefix of all layers.

        Args:
            stages: (batch, views, channels_i, 2, 2) per stage.
            view_mask: (batch, views) bool, True on readable views.

        Returns:
            A prefix of 4 positions per view; its mask is (batch, heads, prefix).
        """
        chunks = self._chunks(stages)
        mixed = torch.einsum("lbvs,bvpsh->lbvph", self._gates(chunks), chunks).flatten(
            2, 3
        )  # (..., prefix, 2 hidden)
        keys, values = mixed.chunk(2, dim=-1)  # (layers, batch, prefix, hidden) each
        rows = view_mask.repeat_interleave(POSITIONS, dim=1)  # (batch, prefix)
        mask = rows.repeat_interleave(self.num_heads, dim=1).view(len(rows), self.num_heads, -1)
        return Prefix(self._view_heads(keys), self._view_heads(values), mask)

    def position_views(self, num_views: int) -> Tensor:
        """The view that each prefix position belongs to, another one in every head, (heads, prefix)."""
        rows = torch.arange(num_views).repeat_interleave(POSITIONS)
        return rows.repeat_interleave(self.num_heads).view(self.num_heads, -1)

    def gate_weights(self, stages: Sequence[Tensor]) -> Tensor:
        """Weight of every chunk in every layer, (layers, batch, views, scales); they sum to one over scales."""
        return self._gates(self._chunks(stages))

    def _chunks(self, stages: Sequence[Tensor]) -> Tensor:
        """The shared network's output, (batch, views, rows, scales, 2 hidden)."""
        _check_stages(stages, self.channels)
        maps = torch.cat(list(stages), dim=2)  # (batch, views, channels, 2, 2)
        rows = maps.view(*maps.shape[:2], POSITIONS, -1)  # (batch, views, rows, channels)
        chunks: Tensor = self.encoder_conv(rows).unflatten(
            -1, (len(self.channels), 2 * self.hidden_size)
        )
        return chunks

    def _gates(self, chunks: Tensor) -> Tensor:
        """softmax(act(W_l mean_i chunk_i)), (layers, batch, views, scales)."""
        summary = chunks.mean(dim=3).flatten(2)  # (batch, views, rows * 2 hidden)
        scores = torch.stack(
            [gate(summary) for gate in self.gates]
        )  # (layers, batch, views, scales)
        picture, crops = self.activation(scores[:, :, :1]), self.crop_activation(scores[:, :, 1:])
        return torch.cat([picture, crops], dim=2).softmax(dim=-1)

    def _view_heads(self, states: Tensor) -> Tensor:
        """(layers, batch, prefix, hidden) read in memory order as (layers, batch, heads, prefix, head_size)."""
        layers, batch, prefix, hidden = states.shape
        return states.contiguous().view(
            layers, batch, self.num_heads, prefix, hidden // self.num_heads
        )


def _fixed_gates(num_layers: int, num_scales: int) -> Tensor:
    """One-hot gates (layers, scales): layer l (from 1) reads scale ceil(l c / N)."""
    chosen = [math.ceil(layer * num_scales / num_layers) - 1 for layer in range(1, num_layers + 1)]
    return functional.one_hot(torch.tensor(chosen), num_scales).float()


def _initialise(module: nn.Module) -> None:
    """BERT's initialisation of linear maps."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _check_stages(stages: Sequence[Tensor], channels: tuple[int, ...]) -> None:
    """Name both sides where a backbone does not fit the prefix."""
    shapes = [tuple(stage.shape[2:]) for stage in stages]
    expected = [(count, 2, 2) for count in channels]
    if shapes != expected:
        raise ValueError(
            f"stages have shapes {shapes} per view, the prefix was built for {expected}: "
            "build it from the backbone's channels, with pool_to=2"
        )
