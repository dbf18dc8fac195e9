"""Distributed rank and world size."""

import torch.distributed as dist


def rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank and the number of processes, 0 and 1 without a group.

    >>> rank_and_world_size()
    (0, 1)
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
