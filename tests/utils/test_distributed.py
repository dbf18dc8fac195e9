"""Rank and world size, outside a process group and inside one."""

import multiprocessing

import pytest
import torch.distributed as dist
from helpers.fits import find_free_port

from mmie.utils.distributed import rank_and_world_size


def join_group(rank, port, results):
    """Join a group of two processes, and put this one's rank and world size into a queue."""
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    results.put(rank_and_world_size())
    dist.destroy_process_group()


def test_a_single_process_is_the_first_of_one():
    assert rank_and_world_size() == (0, 1)


@pytest.mark.slow
def test_processes_of_a_group_have_ranks():
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    port = find_free_port()
    processes = [context.Process(target=join_group, args=(n, port, results)) for n in range(2)]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=60) for _ in processes) == [(0, 2), (1, 2)]
    for process in processes:
        process.join(60)
