"""The batch of all processes together, for losses that compare posts with one another."""

import torch
import torch.distributed as dist
from torch import Tensor


def joint_rows(rows: Tensor) -> Tensor:
    """Rows of all processes in the order in which one process would have them, (processes * batch, ...).

    A loss of these rows, computed alike in every process, has the gradient that one process with the joint batch has:
    each process passes it back to its own rows only, as many times as strong as there are processes, since DDP takes
    the mean. So the backward pass needs no communication. Alone, a process gets its rows back.

    Args:
        rows: (batch, ...) of one shape in all processes, all of which must call this.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return rows
    gathered: Tensor = _gather(rows)
    return gathered


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _gather(rows: Tensor) -> Tensor:
    """`joint_rows` of several processes; bool goes as bytes, which every backend sends."""
    world, own = dist.get_world_size(), rows.detach().contiguous()
    sent = own.byte() if own.dtype == torch.bool else own
    shares = [torch.empty_like(sent) for _ in range(world)]
    dist.all_gather(shares, sent)
    shares = [share.to(own.dtype) for share in shares]
    if rows.requires_grad:
        shares[dist.get_rank()] = own + world * (rows - own)
    return torch.stack(shares, 1).flatten(0, 1)  # a step's posts are dealt to the processes in turn
