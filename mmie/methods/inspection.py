"""Diagnosis of a method on a batch: leaving views out, and attention mass on prefix positions."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.heads import Head
from mmie.blocks.prefix_attention import watch_prefixes
from mmie.methods.tasks import ExtractionTask
from mmie.types import Batch, Encoding


class DiagnosableModule(Protocol):
    """The part of an `ExtractionModule` that diagnosis uses."""

    head: Head
    task: ExtractionTask

    def encode(self, batch: Batch) -> Encoding:
        """Encode the text conditioned on the images."""

    def represent(self, states: Tensor, batch: Batch) -> Tensor:
        """Return what the head classifies."""

    def prefix_views(self, num_views: int) -> Tensor | None:
        """Map prefix positions to views."""


@contextmanager
def inspecting(module: nn.Module) -> Iterator[None]:
    """Run a block in eval mode without gradients, then restore the mode of every submodule."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def diagnose_batch(module: DiagnosableModule, batch: Batch) -> dict[str, Tensor]:
    """Compute what `ExtractionModule.diagnose` returns for every method.

    Args:
        module: The method, which must be in eval mode and without gradients (see `inspecting`).
        batch: The posts.
    """
    with watch_prefixes() as masses:
        states = module.encode(batch).states  # (batch, tokens, hidden)
    diagnosis = {"representation": module.represent(states, batch)}
    diagnosis |= ablate_views(module, states, batch)
    if not masses:
        return diagnosis
    by_word = word_masses(masses, batch)  # (batch, layers, heads, words, prefix)
    num_views = batch.view_mask.shape[1]
    position_views = module.prefix_views(num_views)  # (heads, prefix)
    if position_views is None:
        diagnosis["prompt_mass"] = by_word.mean(2)  # (batch, layers, words, prefix)
    else:
        diagnosis["prefix_mass"] = view_masses(by_word, position_views, num_views)
    return diagnosis


def ablate_views(module: DiagnosableModule, states: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Measure how the prediction and the states change without each view.

    Args:
        module: The method.
        states: (batch, tokens, hidden) with all views.
        batch: The posts.

    Returns:
        ``view_support`` and ``view_change``, (batch, views) each; 0 for masked views.
    """
    predicted = module.task.as_gold(batch, module.head.decode(states, batch))
    loss = module.head.loss(states, predicted)  # (batch,) minus log probability
    supports, changes = [], []
    for view in range(batch.view_mask.shape[1]):
        ablated = module.encode(without_view(batch, view)).states  # (batch, tokens, hidden)
        supports.append(module.head.loss(ablated, predicted) - loss)
        changes.append(relative_change(states, ablated, batch.attention_mask))
    return {
        "view_support": torch.stack(supports, dim=1) * batch.view_mask,  # (batch, views)
        "view_change": torch.stack(changes, dim=1) * batch.view_mask,  # (batch, views)
    }


def without_view(batch: Batch, view: int) -> Batch:
    """Mask one view in all posts.

    Features of the view become 0, as those of unreadable views are.
    """
    view_mask = batch.view_mask.clone()
    view_mask[:, view] = False
    features = {}
    for name, rows in batch.features.items():
        is_of_views = rows.ndim == 3  # (batch, views or pictures, width), else (batch, width)
        mask = view_mask[:, : rows.shape[1]].unsqueeze(-1)  # (batch, views or pictures, 1)
        features[name] = rows * mask if is_of_views else rows
    return replace(batch, view_mask=view_mask, view_index=None, features=features)


def relative_change(states: Tensor, changed: Tensor, mask: Tensor) -> Tensor:
    """Compute |changed - states| / |states| over the real tokens of each post.

    Args:
        states: (batch, tokens, hidden)
        changed: (batch, tokens, hidden)
        mask: (batch, tokens) bool, True on real tokens.

    Returns:
        (batch,)
    """
    is_real = mask.unsqueeze(-1)  # (batch, tokens, 1)
    length: Tensor = (states.float() * is_real).flatten(1).norm(dim=1)  # (batch,)
    moved: Tensor = ((changed - states).float() * is_real).flatten(1).norm(dim=1)  # (batch,)
    return moved / length.clamp(min=torch.finfo(length.dtype).tiny)


def word_masses(masses: Mapping[int, Tensor], batch: Batch) -> Tensor:
    """Select the attention mass on prefix positions at the first subword of every word.

    Args:
        masses: (batch, heads, tokens, prefix) by layer: see
            `mmie.blocks.prefix_attention.watch_prefixes`.
        batch: The posts.

    Returns:
        (batch, layers, heads, words, prefix), 0 on padding.
    """
    by_layer = [masses[layer] for layer in sorted(masses)]
    stacked = torch.stack(by_layer, dim=1)  # (batch, layers, heads, tokens, prefix)
    starts = batch.word_starts[:, None, None, :, None]  # (batch, 1, 1, words, 1)
    starts = starts.expand(*stacked.shape[:3], -1, stacked.shape[-1])
    return stacked.gather(3, starts) * batch.word_mask[:, None, None, :, None]


def view_masses(masses: Tensor, position_views: Tensor, num_views: int) -> Tensor:
    """Sum the attention mass over the positions of every view and average it over heads.

    Args:
        masses: (batch, layers, heads, words, prefix)
        position_views: (heads, prefix) the view that a position belongs to.
        num_views: Views of a post.

    Returns:
        (batch, layers, words, views)
    """
    owners = functional.one_hot(position_views.to(masses.device), num_views)
    owners = owners.to(masses)  # (heads, prefix, views)
    return torch.einsum("blhwp,hpv->blwv", masses, owners) / len(owners)
