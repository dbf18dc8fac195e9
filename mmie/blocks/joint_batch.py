"""The batch of all processes together, for losses that compare posts with one another."""

import torch
import torch.distributed as dist
from torch import Tensor

from mmie.utils.distributed import rank_and_world_size


def all_gather_rows(rows: Tensor) -> Tensor:
    """Rows of all processes in the order in which one process would have them, (processes * batch, ...).

    A loss of these rows, computed alike in every process, has the gradient that one process with the joint batch has:
    each process passes it back to its own rows only, as many times as strong as there are processes, since DDP takes
    the mean. So the backward pass needs no communication. Alone, a process gets its rows back.

    Args:
        rows: (batch, ...) of one shape in all processes, all of which must call this.
    """
    rank, world = rank_and_world_size()
    if world == 1:
        return rows
    gathered: Tensor = _gather(rows, rank, world)
    return gathered


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _gather(rows: Tensor, rank: int, world: int) -> Tensor:
    """`all_gather_rows` of several processes; bool goes as bytes, which every backend sends."""
    own = rows.detach().contiguous()
    sent = own.byte() if own.dtype == torch.bool else own
    shares = [torch.empty_like(sent) for _ in range(world)]
    dist.all_gather(shares, sent)
    shares = [share.to(own.dtype) for share in shares]
    if rows.requires_grad:
        shares[rank] = own + world * (rows - own)
    return torch.stack(shares, 1).flatten(0, 1)  # a step's posts are dealt to the processes in turn
