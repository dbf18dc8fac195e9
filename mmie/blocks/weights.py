"""Operations on the weights of a module: digest, trainable copy, and zero for unused ones."""

import copy
import hashlib
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

_Module = TypeVar("_Module", bound=nn.Module)


def digest_weights(module: nn.Module) -> str:
    """Compute the SHA-256 of all weights and buffers and their names."""
    return digest_tensors(module.state_dict())


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of tensors and their names."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(name.encode())
        content: Any = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
        digest.update(content)
    return digest.hexdigest()


def trainable_copy(module: _Module) -> _Module:
    """Copy a module so that the copy trains even if the original is frozen."""
    return copy.deepcopy(module).requires_grad_(True).train()


def zero_for_unused(*modules: nn.Module) -> Tensor:
    """Return 0 with a gradient of 0 for every trained weight of modules that a step does not use.

    DDP waits for the gradients of all weights, which other processes may use in the same step.
    """
    sums = []
    for module in modules:
        for weight in module.parameters():
            if weight.requires_grad:
                sums.append(weight.sum())
    return torch.stack(sums).sum().mul(0) if sums else torch.zeros(())
