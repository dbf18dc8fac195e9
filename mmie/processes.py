"""Which of several processes this one is."""

import torch.distributed as dist


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are; alone, or before a trainer has joined them, 0 and 1.

    >>> rank_and_world()
    (0, 1)
    """
    running = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if running else (0, 1)
