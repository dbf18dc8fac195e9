"""What `ExtractionModule.diagnose` is made of: looking into a method without leaving a trace."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.types import Batch


@contextmanager
def inspecting(module: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every part is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def without_view(batch: Batch, view: int) -> Batch:
    """The batch with one view masked in all posts; what was kept of views is 0 there, as it is of unreadable ones."""
    view_mask = batch.view_mask.clone()
    view_mask[:, view] = False
    kept = {
        name: rows * view_mask.unsqueeze(-1)
        if rows.ndim == 3
        else rows  # (batch, views, width), or (batch, width)
        for name, rows in batch.features.items()
    }
    return replace(batch, view_mask=view_mask, view_index=None, features=kept)


def relative_change(states: Tensor, others: Tensor, mask: Tensor) -> Tensor:
    """|others - states| / |states| over the tokens of a post that ``mask`` (batch, tokens) leaves, (batch,).

    Args:
        states: (batch, tokens, hidden)
        others: (batch, tokens, hidden)
        mask: (batch, tokens) bool
    """
    real = mask.unsqueeze(-1)
    length: Tensor = (states.float() * real).flatten(1).norm(dim=1)  # (batch,)
    moved: Tensor = ((others - states).float() * real).flatten(1).norm(dim=1)
    return moved / length.clamp(min=torch.finfo(length.dtype).tiny)


def mass_of_words(masses: Mapping[int, Tensor], batch: Batch) -> Tensor:
    """Attention mass on prefix positions, of the subwords that stand for words; 0 on padding.

    Args:
        masses: (batch, heads, tokens, prefix) by layer: see `mmie.blocks.prefix_attention.watch_prefixes`.
        batch: The posts.

    Returns:
        (batch, layers, heads, words, prefix)
    """
    stacked = torch.stack(
        [masses[layer] for layer in sorted(masses)], dim=1
    )  # (batch, layers, heads, tokens, prefix)
    places = batch.word_starts[:, None, None, :, None].expand(
        *stacked.shape[:3], -1, stacked.shape[-1]
    )
    return stacked.gather(3, places) * batch.word_mask[:, None, None, :, None]


def mass_by_view(masses: Tensor, position_views: Tensor, num_views: int) -> Tensor:
    """Mass on the positions of every view, mean over heads, (batch, layers, words, views).

    Args:
        masses: (batch, layers, heads, words, prefix)
        position_views: (heads, prefix) the view that a position belongs to.
        num_views: Views of a post.
    """
    owned = functional.one_hot(position_views.to(masses.device), num_views).to(
        masses
    )  # (heads, prefix, views)
    return torch.einsum("blhwp,hpv->blwv", masses, owned) / len(owned)
