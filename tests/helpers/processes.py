"""A function run in all processes of a Gloo group."""

import os
import sys

import torch
from torch import distributed, multiprocessing

PROCESSES = 2


def run_in_group(function, folder):
    """Run ``function(rank, folder)`` in each process of a group, and wait for all of them.

    Args:
        function: What each process runs, with one thread. It stands at the top of its module.
        folder: Where the group's store is written, and what the function gets.

    Raises:
        torch.multiprocessing.ProcessRaisedException: The function failed in some process.
    """
    multiprocessing.spawn(_run_one, args=(function, folder), nprocs=PROCESSES)


def _run_one(rank, function, folder):
    """Join the group, run the function and leave without closing the interpreter.

    A thread of torch that still holds a Python object while the interpreter closes aborts the
    process ("terminate called without an active exception"), after all its work is done.
    """
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=PROCESSES
    )
    function(rank, folder)
    distributed.barrier()
    distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
