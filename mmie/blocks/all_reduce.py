"""Sums over all processes, for statistics of a joint batch."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mmie.utils.distributed import rank_and_world_size


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum the values of all processes, whose gradients are summed as well.

    Every process may compute another loss of the sum. The mean of the gradients that DDP takes
    then is the gradient of the mean loss, as in torch's ``SyncBatchNorm``.

    Args:
        values: Any shape, the same in all processes, all of which must call this and, if the values
            need a gradient, run backward through the sum.

    Returns:
        The sum in the shape of ``values``; ``values`` itself outside a process group.
    """
    _, world_size = rank_and_world_size()
    if world_size == 1:
        return values
    reduce = torch.compiler.disable(_AllReduce.apply)
    total: Tensor = reduce(values)
    return total


class _AllReduce(torch.autograd.Function):
    """Sum over processes in both directions."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Return the sum of all processes' values."""
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the sum of all processes' gradients."""
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total
