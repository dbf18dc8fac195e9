"""The process among those of one distributed run, and the cores and threads that it may use."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_RANK_VARIABLES = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "SLURM_PROCID",
    "JSM_NAMESPACE_RANK",
    "OMPI_COMM_WORLD_RANK",
)
"""Variables in which Lightning, torchrun, SLURM and MPI number the processes of a run from 0."""

THREADS = "OMP_NUM_THREADS"
"""Variable in which OpenMP, and with it PyTorch, reads the number of threads on the CPU."""

THREAD_LIMIT = "MMIE_MAX_THREADS"
"""Variable in which a sweep tells its processes their share of the cores."""

SMALL_MODEL = 10_000_000
"""Parameters below which a model computes with one thread. BERT-base has 110 million."""


def is_first_process() -> bool:
    """Tell whether this process is the first of its run, before a process group exists.

    >>> is_first_process()
    True
    """
    return all(os.environ.get(name) in (None, "", "0") for name in _RANK_VARIABLES)


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: a cluster may have given a part of the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_threads() -> int:
    """Return the number of threads that the environment names, or else that of the cores.

    It is for libraries that do not read the variable of OpenMP.
    """
    named = os.environ.get(THREADS, "")
    return int(named) if named.isdecimal() and int(named) > 0 else count_cores()


def count_physical_cores() -> int:
    """Return the number of physical cores among those that this process may use.

    Where they cannot be told from logical ones, those are counted.
    """
    if not hasattr(os, "sched_getaffinity"):
        return count_cores()
    cores = set()
    for number in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text(encoding="ascii"))
        except OSError:
            return count_cores()
    return len(cores)


def with_thread_limit(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return an environment in which `limit_threads` chooses at most a number of threads.

    >>> with_thread_limit({"OMP_NUM_THREADS": "8"}, 4)
    {'OMP_NUM_THREADS': '8', 'MMIE_MAX_THREADS': '4'}
    """
    return {**environment, THREAD_LIMIT: str(threads)}


def limit_threads(*models: "nn.Module") -> None:
    """Choose the number of threads by the size of the models, unless the environment names one.

    Small models compute with one thread: a second one gains nothing in operations that take
    microseconds, and beside other busy processes, threads wait for each other many times longer
    than they compute. Others compute with one thread per physical core, or with the share of the
    cores that a sweep has given to the process.

    Args:
        *models: The models that the process computes with.
    """
    import torch

    if os.environ.get(THREADS):
        return
    num_parameters = 0
    for model in models:
        num_parameters += sum(parameter.numel() for parameter in model.parameters())
    if num_parameters < SMALL_MODEL:
        torch.set_num_threads(1)
        return
    cores = count_physical_cores()
    torch.set_num_threads(min(cores, int(os.environ.get(THREAD_LIMIT, cores))))
