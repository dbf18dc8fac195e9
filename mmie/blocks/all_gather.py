"""Gathering of rows from all processes, for losses that compare the posts of a joint batch."""

import torch
import torch.distributed as dist
from torch import Tensor

from mmie.utils.distributed import rank_and_world_size


def all_gather_rows(rows: Tensor) -> Tensor:
    """Gather the rows of all processes in the order in which one process would have them.

    A loss of the gathered rows that every process computes alike has the gradient that one process
    with the joint batch has: each process passes the gradient to its own rows only, multiplied by
    the number of processes because DDP takes the mean. The backward pass needs no communication.

    Args:
        rows: (batch, ...) of the same shape in all processes, all of which must call this.

    Returns:
        (processes * batch, ...); ``rows`` itself outside a process group.
    """
    rank, world_size = rank_and_world_size()
    if world_size == 1:
        return rows
    gathered: Tensor = _gather(rows, rank, world_size)
    return gathered


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _gather(rows: Tensor, rank: int, world_size: int) -> Tensor:
    """Gather the rows of several processes."""
    local = rows.detach().contiguous()  # (batch, ...)
    # Not every backend can send bools.
    message = local.byte() if local.dtype == torch.bool else local
    received = [torch.empty_like(message) for _ in range(world_size)]
    dist.all_gather(received, message)
    parts = [part.to(local.dtype) for part in received]
    if rows.requires_grad:
        parts[rank] = local + world_size * (rows - local)
    # The sampler deals the posts of a step to the processes in turn.
    return torch.stack(parts, 1).flatten(0, 1)  # (processes * batch, ...)
