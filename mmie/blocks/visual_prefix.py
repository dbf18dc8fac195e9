"""Prefixes for every text layer from the stages of a visual backbone, mixed by gates.

`PyramidPrefix` computes what the paper describes, `mmie.blocks.reference_prefix.ReferencePrefix`
what the authors' public code computes. Both take pooled stages.

Source: Chen et al., Good Visual Guidance Makes A Better Extractor: Hierarchical Visual Prefix for
Multimodal Entity and Relation Extraction (HVPNet), Findings of NAACL 2022,
https://arxiv.org/abs/2205.03521, Equations 2 to 7.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.prefix_projection import PrefixProjection

Activation = Literal["leaky_relu", "selu"]
ScaleMapping = Literal["dynamic", "one_to_three"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "leaky_relu": functional.leaky_relu,
    "selu": functional.selu,
}


class PyramidPrefix(nn.Module):
    """Visual prefix whose gates mix the stages of a backbone for each text layer.

        V_i = Conv_1x1(F_i)
        g_l = softmax(act(W_l mean_i P(V_i)))
        [P_k ; P_v]_l = Linear_l(sum_i g_l,i V_i)

    The last sum is taken for each view, and the views are concatenated. P is the mean over
    positions. A view's gates depend on that view alone. W_l and the linear maps have biases, as in
    the public code.

    Args:
        channels: Channels of each stage of the backbone.
        hidden_size: Width of the text encoder (d).
        num_layers: Layers of the text encoder (N).
        num_heads: Attention heads of the text encoder.
        mapping: ``dynamic`` mixes the stages by gates. ``one_to_three`` gives layer l (from 1) the
            stage ceil(l c / N) and no other: with 12 layers and 4 stages, stage i feeds layers
            3i-2 to 3i.
        scales: Stages used, counted from 1.
        activation: act; leaky ReLU in HVPNet, SELU in RSRNeT.
        pool_to: Height and width of the pooled stages.

    Raises:
        ValueError: ``scales`` are not different stages of the backbone, or ``num_heads`` does not
            divide ``hidden_size``.
    """

    fixed_gates: Tensor | None

    def __init__(
        self,
        channels: Sequence[int],
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        mapping: ScaleMapping = "dynamic",
        scales: Sequence[int] = (1, 2, 3, 4),
        activation: Activation = "leaky_relu",
        pool_to: int = 2,
    ) -> None:
        super().__init__()
        stages = set(range(1, len(channels) + 1))
        if not scales or len(set(scales)) < len(scales) or not set(scales) <= stages:
            raise ValueError(
                f"scales are {list(scales)}: name different stages from 1 to {len(channels)}"
            )
        self.channels = tuple(channels)
        self.pool_to = pool_to
        self.positions = pool_to**2
        self.scales = tuple(scales)
        self.activation = ACTIVATIONS[activation]
        # a 1 x 1 convolution is a linear map over channels
        self.convolutions = nn.ModuleList(
            nn.Linear(channels[scale - 1], hidden_size) for scale in scales
        )
        self.projections = PrefixProjection(hidden_size, num_layers, num_heads)
        # A softmax over a single scale would leave the weights of its gates untrained.
        is_fixed = mapping == "one_to_three" or len(scales) == 1
        fixed_gates = _fixed_gates(num_layers, len(scales)) if is_fixed else None
        self.register_buffer("fixed_gates", fixed_gates, persistent=False)  # (layers, scales)
        num_gates = 0 if is_fixed else num_layers
        self.gates = nn.ModuleList(nn.Linear(hidden_size, len(scales)) for _ in range(num_gates))
        self.apply(initialise_like_bert)

    def forward(self, stages: Sequence[Tensor], view_mask: Tensor) -> Prefix:
        """Compute the prefix of all layers.

        The positions of a view are adjacent, and the views are in their order.

        Args:
            stages: (batch, views, channels_i, pool_to, pool_to) per stage.
            view_mask: (batch, views) bool, True on readable views; positions of the others are
                masked.

        Returns:
            A prefix of pool_to^2 positions per view.
        """
        features = self._project(stages)  # (batch, views, scales, positions, hidden)
        gates = self._gates(features)  # (layers, batch, views, scales)
        mixed = torch.einsum("lbvs,bvsph->lbvph", gates, features)
        mixed = mixed.flatten(2, 3)  # (layers, batch, prefix, hidden)
        mask = view_mask.repeat_interleave(self.positions, dim=1)  # (batch, prefix)
        prefix: Prefix = self.projections(mixed, mask)
        return prefix

    def position_views(self, num_views: int) -> Tensor:
        """Return the view of each prefix position, the same in all heads, (heads, prefix)."""
        views = torch.arange(num_views).repeat_interleave(self.positions)  # (prefix,)
        return views.expand(self.projections.num_heads, -1)

    def gate_weights(self, stages: Sequence[Tensor]) -> Tensor:
        """Compute the weight of every stage in every layer.

        Args:
            stages: (batch, views, channels_i, pool_to, pool_to) per stage.

        Returns:
            (layers, batch, views, scales); the weights sum to one over scales.
        """
        return self._gates(self._project(stages))

    def _project(self, stages: Sequence[Tensor]) -> Tensor:
        """Project the used stages to the text's width: V_i = Conv_1x1(F_i).

        Args:
            stages: (batch, views, channels_i, pool_to, pool_to) per stage.

        Returns:
            (batch, views, scales, positions, hidden)
        """
        check_stages(stages, self.channels, self.pool_to)
        projected = []
        for convolution, scale in zip(self.convolutions, self.scales, strict=True):
            stage = stages[scale - 1]  # (batch, views, channels_i, height, width)
            positions = stage.flatten(3).transpose(2, 3)  # (batch, views, positions, channels_i)
            projected.append(convolution(positions))  # (batch, views, positions, hidden)
        return torch.stack(projected, dim=2)

    def _gates(self, features: Tensor) -> Tensor:
        """Compute g_l = softmax(act(W_l mean_i P(V_i))), (layers, batch, views, scales)."""
        if self.fixed_gates is not None:
            batch, views = features.shape[:2]
            return self.fixed_gates[:, None, None, :].expand(-1, batch, views, -1)
        summary = features.mean(dim=(2, 3))  # (batch, views, hidden)
        scores = [self.activation(gate(summary)) for gate in self.gates]
        return torch.stack(scores).softmax(dim=-1)


def initialise_like_bert(module: nn.Module) -> None:
    """Initialise a linear map as BERT's are."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def check_stages(stages: Sequence[Tensor], channels: tuple[int, ...], pool_to: int) -> None:
    """Raise if the stages of a backbone do not fit the prefix.

    Raises:
        ValueError: The stages have other channels, or are not pooled to ``pool_to``.
    """
    shapes = [tuple(stage.shape[2:]) for stage in stages]
    expected = [(count, pool_to, pool_to) for count in channels]
    if shapes != expected:
        raise ValueError(
            f"stages have shapes {shapes} per view, the prefix was built for {expected}: "
            f"build it from the backbone's channels, with pool_to={pool_to}"
        )


def _fixed_gates(num_layers: int, num_scales: int) -> Tensor:
    """Return one-hot gates (layers, scales): layer l (from 1) reads scale ceil(l c / N)."""
    scales = []
    for layer in range(1, num_layers + 1):
        scales.append(math.ceil(layer * num_scales / num_layers) - 1)
    return functional.one_hot(torch.tensor(scales), num_scales).float()
