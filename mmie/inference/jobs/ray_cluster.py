"""Ray sessions, ordered Ray Data, GPUs of an actor, and errors in one line."""

import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmie.types import MmieError
from mmie.utils.text import first_line


class RayEngineError(MmieError, RuntimeError):
    """A request that Ray cannot meet, or a job during which Ray stopped."""


@contextmanager
def ray_session(ray: Any, address: str | None, cpus_per_actor: float) -> Iterator[None]:
    """Use the Ray session of this process, or else join a cluster or start one until the end.

    Args:
        ray: The ``ray`` package.
        address: Cluster to join; None takes that of ``RAY_ADDRESS``, or else a new one on this
            machine.
        cpus_per_actor: Cores of an actor, which a new cluster must have.

    Raises:
        RayEngineError: No cluster can be reached at the address.
    """
    if ray.is_initialized():
        yield
        return
    cluster = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if cluster == "local":
        # Reading and writing take a core beside the actor's.
        options["num_cpus"] = max(os.cpu_count() or 1, math.ceil(cpus_per_actor) + 1)
        options["include_dashboard"] = False
    try:
        ray.init(cluster, **options)
    except (ConnectionError, ValueError) as error:
        raise RayEngineError(f"no Ray cluster at '{cluster}': {first_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def ordered_data(data: Any) -> Iterator[None]:
    """Make Ray Data keep the order of rows and show progress bars on terminals only.

    Args:
        data: The ``ray.data`` package.
    """
    context = data.DataContext.get_current()
    logger = logging.getLogger("ray.data")
    preserve_order = context.execution_options.preserve_order
    progress_bars = context.enable_progress_bars
    level = logger.level
    context.execution_options.preserve_order = True
    context.enable_progress_bars = sys.stderr.isatty()
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        context.execution_options.preserve_order = preserve_order
        context.enable_progress_bars = progress_bars
        logger.setLevel(level)


def resolve_gpus(ray: Any, gpus_per_actor: float | None) -> float:
    """Return the number of GPUs of an actor, by default one if the cluster has any.

    Raises:
        RayEngineError: The cluster has fewer GPUs, and Ray would wait for them forever.
    """
    available = ray.cluster_resources().get("GPU", 0)
    if gpus_per_actor is None:
        return 1 if available else 0
    if gpus_per_actor > available:
        raise RayEngineError(
            f"gpus_per_actor is {gpus_per_actor:g}: the Ray cluster has {available:g} GPUs"
        )
    return gpus_per_actor


@contextmanager
def errors_of_workers() -> Iterator[None]:
    """Raise what a Ray job raises in one line.

    Raises:
        MmieError: An actor, a task or the body raised it.
        RayEngineError: Ray stopped for another reason.
    """
    try:
        yield
    except Exception as error:  # Ray wraps what its workers raise, and adds lines to it
        cause = _find_cause(error)
        message = (str(cause).splitlines() or [""])[0]
        if isinstance(cause, MmieError):
            raise type(cause)(message) from None
        raise RayEngineError(f"Ray stopped: {type(cause).__name__}: {message}") from error


def _find_cause(error: BaseException) -> BaseException:
    """Return the exception that a worker raised, which Ray wraps and quotes with its traceback."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException) and cause is not error:
        return _find_cause(cause)
    return error
