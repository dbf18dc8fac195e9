"""Fusion units and dynamic router of RAP (Section 3.4, Equations 9 to 19)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.attention import MultiHeadAttention, masked_mean

UnitName = Literal["rau", "fsru", "cfu"]
_OPEN = 1.5  # initial bias of the routers: tanh(1.5) = 0.91


class RAU(nn.Module):
    """Rectified activation unit, U_0(X) = ReLU(X), which keeps what needs no picture."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> Tensor:
        """Compute ReLU(X) (Equation 10), (batch, tokens, hidden)."""
        return text.relu()


class FSRU(nn.Module):
    """Feature semantic reasoning unit, self-attention over the text."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.norm_attention = nn.LayerNorm(hidden_size)
        self.feed_forward = _feed_forward(hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> Tensor:
        """Compute Norm(FFN(Y) + Y), Y = Norm(X + MHA(X)) (Equations 11 and 12).

        Args:
            text: (batch, tokens, hidden) X.
            mask: (batch, tokens) bool
            views: Not used.
            view_mask: Not used.
            gate: Not used.

        Returns:
            (batch, tokens, hidden)
        """
        attended = self.norm_attention(text + self.attention(text, text, mask))
        result: Tensor = self.norm(self.feed_forward(attended) + attended)
        return result


class CFU(nn.Module):
    """Cross-modal fusion unit, gated attention from the text to the views."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(hidden_size)  # of the queries
        self.norm_views = nn.LayerNorm(hidden_size)  # of keys and values
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.norm = nn.LayerNorm(hidden_size)
        self.feed_forward = _feed_forward(hidden_size)

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> Tensor:
        """Compute Y + MLP(Norm(Y)), Y = X + tanh(beta) A (Equations 13 to 16).

        A = MHA(query Norm(X), keys and values Norm(E_v)) is 0 without a readable view.

        Args:
            text: (batch, tokens, hidden) X.
            mask: Not used.
            views: (batch, views, hidden) E_v.
            view_mask: (batch, views) bool
            gate: (batch,) tanh(beta).

        Returns:
            (batch, tokens, hidden)
        """
        queries, memory = self.norm_attention(text), self.norm_views(views)
        attended = self.attention(queries, memory, view_mask)
        fused = text + gate[:, None, None] * attended  # (batch, tokens, hidden)
        result: Tensor = fused + self.feed_forward(self.norm(fused))
        return result


_UNITS: dict[UnitName, type[RAU | FSRU | CFU]] = {"rau": RAU, "fsru": FSRU, "cfu": CFU}


class Router(nn.Sequential):
    """Path weights from a unit to its targets.

    All paths are open at the start.

    Args:
        hidden_size: Width of the unit's input.
        num_targets: Targets.
        inner_size: Width of the hidden layer.
    """

    def __init__(self, hidden_size: int, num_targets: int, inner_size: int = 128) -> None:
        last = nn.Linear(inner_size, num_targets)
        nn.init.normal_(last.weight, std=0.02)
        nn.init.constant_(last.bias, _OPEN)
        super().__init__(nn.Linear(hidden_size, inner_size), nn.ReLU(), last)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Compute ReLU(tanh(MLP(mean over tokens))) (Equation 19).

        Args:
            states: (batch, tokens, hidden) input of the unit.
            mask: (batch, tokens) bool

        Returns:
            (batch, targets)
        """
        mean = masked_mean(states, mask)  # (batch, hidden)
        weights: Tensor = super().forward(mean)  # type: ignore[no-untyped-call]
        return torch.tanh(weights).relu()


class DynamicFusion(nn.Module):
    """Layers of units, with a path from every unit to every unit of the next layer.

    A router per unit computes the weights of the paths that leave it.

    Args:
        hidden_size: Width of text and view vectors.
        num_heads: Attention heads of the units.
        num_layers: Layers (L_f).
        units: Units of a layer (U of them).
        normalize_paths: Make the path weights into a unit sum to 1. If all of them are 0, the unit
            receives the RAU's output, without RAU the first unit's.
        router_size: Width of the routers' hidden layers.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_layers: int,
        units: Sequence[UnitName],
        normalize_paths: bool,
        router_size: int = 128,
    ) -> None:
        super().__init__()
        self.normalize_paths = normalize_paths
        self.num_units = len(units)
        self.open_unit = units.index("rau") if "rau" in units else 0
        self.num_targets = [*[len(units)] * (num_layers - 1), 1]
        self.layers: Sequence[nn.ModuleList] = nn.ModuleList(  # type: ignore[assignment]
            nn.ModuleList(_UNITS[name](hidden_size, num_heads) for name in units)
            for _ in range(num_layers)
        )
        self.routers: Sequence[nn.ModuleList] = nn.ModuleList(  # type: ignore[assignment]
            nn.ModuleList(Router(hidden_size, count, router_size) for _ in units)
            for count in self.num_targets
        )

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the fused states and the path weights (Equations 17 and 18).

        Unit u of a layer computes U_u(X_u), and target t, a unit of the next layer, receives
        X_t = sum_u w_ut U_u(X_u) with path weights w. The last layer has one target, X_mm.

        Args:
            text: (batch, tokens, hidden)
            mask: (batch, tokens) bool
            views: (batch, views, hidden)
            view_mask: (batch, views) bool
            gate: (batch,) tanh(beta)

        Returns:
            X_mm (batch, tokens, hidden), and the path weights (batch, U^2 (L_f - 1) + U).
        """
        inputs = [text] * self.num_units
        routing = []
        for units, routers in zip(self.layers, self.routers, strict=True):
            outputs = [
                unit(states, mask, views, view_mask, gate)
                for unit, states in zip(units, inputs, strict=True)
            ]
            weights = [router(states, mask) for router, states in zip(routers, inputs, strict=True)]
            stacked = torch.stack(outputs, dim=1)  # (batch, units, tokens, hidden)
            paths = torch.stack(weights, dim=1)  # (batch, units, targets)
            routing.append(paths.flatten(1))  # (batch, units * targets)
            mixed = torch.einsum("but,buph->tbph", self.normalize(paths), stacked)
            inputs = list(mixed)  # (batch, tokens, hidden) per target
        return inputs[0], torch.cat(routing, dim=1)

    def split_by_layer(self, routing: Tensor) -> tuple[Tensor, Tensor]:
        """Arrange path weights by layer, as the routers compute them and as they are applied.

        Args:
            routing: (batch, paths) path weights.

        Returns:
            (batch, layers, units, targets) each. The last layer has one target, and 0 for others.
        """
        units = self.num_units
        raw, applied = [], []
        sizes = [units * count for count in self.num_targets]
        for part, count in zip(routing.split(sizes, dim=1), self.num_targets, strict=True):
            paths = part.unflatten(1, (units, count))  # (batch, units, targets)
            padding = (0, units - count)
            raw.append(functional.pad(paths, padding))
            applied.append(functional.pad(self.normalize(paths), padding))
        return torch.stack(raw, dim=1), torch.stack(applied, dim=1)

    def normalize(self, weights: Tensor) -> Tensor:
        """Divide path weights by the sum of those into the same target, if asked for.

        Args:
            weights: (batch, units, targets)

        Returns:
            (batch, units, targets). Where the sum is 0, the RAU (else the first unit) has weight 1.
        """
        if not self.normalize_paths:
            return weights
        total = weights.sum(1, keepdim=True)  # (batch, 1, targets)
        only_open = torch.zeros_like(weights)  # (batch, units, targets)
        only_open[:, self.open_unit] = 1
        shares = weights / total.where(total > 0, 1)  # (batch, units, targets)
        return torch.where(total > 0, shares, only_open)


def _feed_forward(hidden_size: int) -> nn.Sequential:
    """Build two linear maps with GELU between them, four times as wide inside."""
    inner_size = 4 * hidden_size
    return nn.Sequential(
        nn.Linear(hidden_size, inner_size), nn.GELU(), nn.Linear(inner_size, hidden_size)
    )
