"""Projection of states, one set per text layer, to the prefix of keys and values of that layer."""

import torch
from torch import Tensor, nn

from mmie.blocks.prefix_attention import Prefix, split_heads


class PrefixProjection(nn.ModuleList):
    """Linear map of states to keys and values for each layer, with bias, split into heads.

        [P_k ; P_v]_l = Linear_l(X_l)

    Source: Chen et al., HVPNet, Findings of NAACL 2022, https://arxiv.org/abs/2205.03521;
    Equation 13 of Liu et al., DGHC, IEEE Access 2024,
    https://doi.org/10.1109/ACCESS.2024.3400250.

    Args:
        hidden_size: Width of states and of the text encoder (d).
        num_layers: Layers of the text encoder (N).
        num_heads: Attention heads of the text encoder.

    Raises:
        ValueError: ``num_heads`` does not divide ``hidden_size``.
    """

    def __init__(self, hidden_size: int, num_layers: int, num_heads: int) -> None:
        check_heads(hidden_size, num_heads)
        super().__init__(nn.Linear(hidden_size, 2 * hidden_size) for _ in range(num_layers))
        self.num_heads = num_heads

    def forward(self, states: Tensor, mask: Tensor) -> Prefix:
        """Compute the prefix of all layers.

        Args:
            states: (layers, batch, prefix, hidden)
            mask: (batch, prefix) bool, True on positions that may be attended to.

        Raises:
            ValueError: ``states`` have another number of layers.
        """
        layers = [project(layer) for project, layer in zip(self, states, strict=True)]
        pairs = torch.stack(layers)  # (layers, batch, prefix, 2 * hidden)
        keys, values = pairs.chunk(2, dim=-1)  # (layers, batch, prefix, hidden) each
        return Prefix(split_heads(keys, self.num_heads), split_heads(values, self.num_heads), mask)


def check_heads(hidden_size: int, num_heads: int) -> None:
    """Raise if the heads cannot share the width evenly.

    Raises:
        ValueError: ``num_heads`` does not divide ``hidden_size``.
    """
    if hidden_size % num_heads:
        raise ValueError(
            f"hidden_size {hidden_size} is no multiple of num_heads {num_heads}: "
            "take both from the encoder"
        )
