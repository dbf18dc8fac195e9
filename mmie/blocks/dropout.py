"""Dropout whose random bits cost less on a CPU, where torch draws one number per element.

Four elements share one 64-bit draw, so that a state is dropped with a probability that is a
multiple of 2^-16. On other devices, and outside training, it is torch's own dropout.
"""

import torch
from torch import Tensor, nn

_LEVELS = 2**16


def keep_mask(shape: torch.Size | tuple[int, ...], p: float) -> Tensor:
    """Draw a bool mask on the CPU that is False with probability p, to within 2^-17.

    Args:
        shape: Shape of the mask.
        p: Probability of False, at least 0 and less than 1.
    """
    count = torch.Size(shape).numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)  # all 64 bits
    levels = draws.view(torch.int16)[:count].view(shape)  # uniform in -2^15 to 2^15 - 1
    return levels >= round(p * _LEVELS) - _LEVELS // 2


def drop(states: Tensor, p: float) -> Tensor:
    """Set states (...) on the CPU to 0 with probability p and divide the others by 1 - p.

    Autograd keeps nothing but the mask.
    """
    return states.mul(_LEVELS / (_LEVELS - round(p * _LEVELS))) * keep_mask(states.shape, p)


def cheap_dropout_applies(states: Tensor) -> bool:
    """Tell whether `drop` is faster than torch's dropout: on a CPU without a compiler.

    A compiler fuses torch's own dropout with the operations around it.
    """
    return states.device.type == "cpu" and not torch.compiler.is_compiling()


class Dropout(nn.Dropout):
    """``nn.Dropout`` with `keep_mask` on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop states (...) in training."""
        if not self.training or self.p == 0 or not cheap_dropout_applies(input):
            return super().forward(input)
        return drop(input, self.p)


def use_cheap_dropout(module: nn.Module) -> None:
    """Replace every ``nn.Dropout`` inside a module."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))


def attend_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float, scale: float | None
) -> Tensor:
    """Compute dropout(softmax(Q K^T scale)) V on a CPU.

    The kernel of torch draws one number per element there, as its dropout does.

    Args:
        query: (batch, heads, tokens, head_size)
        key: (batch, heads, positions, head_size)
        value: (batch, heads, positions, head_size)
        mask: Bool, broadcastable to (batch, heads, tokens, positions), True on positions that may
            be attended to.
        p: Probability of dropping a weight.
        scale: Factor of the scores; 1 / sqrt(head_size) if None.

    Returns:
        (batch, heads, tokens, head_size)
    """
    if scale is None:
        scale = query.shape[-1] ** -0.5
    scores = query @ key.transpose(-1, -2) * scale  # (batch, heads, tokens, positions)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)  # (batch, heads, tokens, positions)
    return drop(weights, p) @ value
