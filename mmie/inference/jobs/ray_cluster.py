"""Ray as the engine needs it: running, in order, with room for an actor, and with errors of one line."""

import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmie.inference.jobs.ray_rows import locate
from mmie.types import MmieError


class RayEngineError(MmieError, RuntimeError):
    """Ray cannot do what is asked, or stopped."""


@contextmanager
def session(ray: Any, address: str | None, cpus: float) -> Iterator[None]:
    """Ray running: the one that this process has, or else a cluster's, or a new one, until the end.

    Raises:
        RayEngineError: There is no cluster at the address.
    """
    if ray.is_initialized():
        yield
        return
    place = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if place == "local":  # reading and writing take a core beside the actor's
        options |= {
            "num_cpus": max(os.cpu_count() or 1, math.ceil(cpus) + 1),
            "include_dashboard": False,
        }
    try:
        ray.init(place, **options)
    except (ConnectionError, ValueError) as error:
        raise RayEngineError(
            f"no Ray cluster at '{place}': {str(error).splitlines()[0]}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def in_order(data: Any) -> Iterator[None]:
    """Ray Data keeps the posts in order, and shows its progress to a terminal alone."""
    context, logger = data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.execution_options.preserve_order, context.enable_progress_bars, logger.level
    shown = sys.stderr.isatty()
    context.execution_options.preserve_order, context.enable_progress_bars = True, shown
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        context.execution_options.preserve_order, context.enable_progress_bars = before[:2]
        logger.setLevel(before[2])


def find_gpus(ray: Any, wanted: float | None) -> float:
    """GPUs of an actor.

    Raises:
        RayEngineError: There are fewer, and actors would be waited for forever.
    """
    there = ray.cluster_resources().get("GPU", 0)
    if wanted is None:
        return 1 if there else 0
    if wanted > there:
        raise RayEngineError(f"gpus_per_actor is {wanted:g}: the Ray cluster has {there:g} GPUs")
    return wanted


def write_rows(rows: Any, out: str, rows_per_file: int) -> None:
    """Compute and write rows.

    Raises:
        MmieError: What an actor or a task raised, or that Ray stopped.
    """
    system, name = locate(out)
    try:
        rows.write_parquet(name, filesystem=system, min_rows_per_file=rows_per_file)
    except Exception as error:  # Ray wraps what its workers raise, and adds lines to it
        cause = _find_cause(error)
        line = (str(cause).splitlines() or [""])[0]
        if isinstance(cause, MmieError):
            raise type(cause)(line) from None
        raise RayEngineError(f"Ray stopped: {type(cause).__name__}: {line}") from error


def _find_cause(error: BaseException) -> BaseException:
    """What was raised where the work is done; Ray's own error quotes its whole traceback."""
    cause = getattr(error, "cause", None)
    return _find_cause(cause) if isinstance(cause, BaseException) and cause is not error else error
