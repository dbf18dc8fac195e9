"""Stages, weights and gates for tests of visual prefixes."""

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (3, 5, 6, 10)
BATCH, VIEWS, HIDDEN, HEADS = 2, 3, 12, 3
HEAD = HIDDEN // HEADS
MASK = torch.tensor([[True, True, False], [True, False, False]])


def make_stages(seed: int = 0, views: int = VIEWS) -> list[Tensor]:
    """Make random stages of a backbone, (batch, views, channels_i, 2, 2) each."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(BATCH, views, count, 2, 2, generator=generator) for count in CHANNELS]


def build_prefix(kind: type[nn.Module], layers: int = 4, **settings) -> nn.Module:
    """Build a prefix with weights large enough for its gates to differ."""
    torch.manual_seed(0)
    prefix = kind(CHANNELS, HIDDEN, layers, HEADS, **settings)
    for parameter in prefix.parameters():
        parameter.data.normal_(std=0.5)
    return prefix


def activate(name: str, scores: Tensor) -> Tensor:
    """Apply an activation by its name."""
    return functional.selu(scores) if name == "selu" else functional.leaky_relu(scores)
