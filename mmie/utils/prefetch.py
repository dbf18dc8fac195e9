"""Prefetching: the next item is computed in a thread while the caller uses the current one."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def prefetch(
    function: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[tuple[_Item, _Result]]:
    """Yield each item with the function's result for it, in order, computing one item ahead.

    At most two results are held at a time. An exception of the function is raised where its result
    would have been yielded.

    >>> list(prefetch(str, [1, 2]))
    [(1, '1'), (2, '2')]
    """
    with ThreadPoolExecutor(1) as pool:
        pending: tuple[_Item, Future[_Result]] | None = None
        for item in items:
            following = item, pool.submit(function, item)
            if pending is not None:
                yield pending[0], pending[1].result()
            pending = following
        if pending is not None:
            yield pending[0], pending[1].result()
