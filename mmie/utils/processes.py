"""The process among those of one distributed run, and the cores and threads that it may use."""

import os
from collections.abc import Mapping
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


def with_threads(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return an environment with a number of threads, unless it names one already.

    >>> with_threads({}, 4), with_threads({"OMP_NUM_THREADS": "1"}, 4)
    ({'OMP_NUM_THREADS': '4'}, {'OMP_NUM_THREADS': '1'})
    """
    if environment.get(THREADS):
        return dict(environment)
    return {**environment, THREADS: str(threads)}


def limit_threads(*models: "nn.Module") -> None:
    """Compute with one thread if all models are small, unless the user has set a number of threads.

    A second thread gains nothing in operations that take microseconds. Beside other busy processes,
    threads wait for each other many times longer than they compute.

    Args:
        *models: The models that the process computes with.
    """
    import torch

    num_parameters = 0
    for model in models:
        num_parameters += sum(parameter.numel() for parameter in model.parameters())
    if num_parameters < SMALL_MODEL and not os.environ.get(THREADS):
        torch.set_num_threads(1)
