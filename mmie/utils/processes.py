"""The process among those of one distributed run, as whoever started them says it."""

import os

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


def is_first_process() -> bool:
    """Tell whether this process is the first of its run, before a process group exists.

    >>> is_first_process()
    True
    """
    return all(os.environ.get(name) in (None, "", "0") for name in _RANK_VARIABLES)
