"""Bounded queue of items from several callers, computed in batches by one thread."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

from mmie.types import MmieError

Item = TypeVar("Item")
Result = TypeVar("Result")
_LOG = logging.getLogger(__name__)


class QueueFull(MmieError, RuntimeError):
    """A call whose items do not fit into the queue."""


@dataclass(eq=False, slots=True)
class _Call(Generic[Item, Result]):
    """Items that were submitted together, and the future of their results."""

    items: Sequence[Item]
    future: Future[list[Result]] = field(default_factory=Future)


class Batcher(Generic[Item, Result]):
    """Thread that computes the items of several calls together.

    The items of one call are never split. If a batch fails, its calls are computed one by one, so
    that a caller's items cannot spoil another caller's results.

    Args:
        compute: Returns the results of items, in order; called by the batcher's thread alone.
        batch_size: Most items of a batch; a call with more is a batch of its own.
        max_waiting: Most items in the queue; a call with more still fits into an empty queue.
        linger: Seconds that the first item waits for others to share its batch.
    """

    def __init__(
        self,
        compute: Callable[[list[Item]], list[Result]],
        batch_size: int,
        max_waiting: int,
        linger: float,
    ) -> None:
        self._compute = compute
        self.batch_size = batch_size
        self.max_waiting = max_waiting
        self.linger = linger
        self._calls: deque[_Call[Item, Result]] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Cancel the queue and let the running batch end.

        Args:
            seconds: Longest time to wait for the running batch.
        """
        with self._changed:
            self._stopped = True
            for call in self._calls:
                call.future.cancel()
            self._calls.clear()
            self._changed.notify_all()
        self._thread.join(seconds)

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running and not stopped."""
        return self._thread.is_alive() and not self._stopped

    @property
    def num_waiting(self) -> int:
        """Number of items in the queue."""
        with self._changed:
            self._drop_cancelled()
            return self._count_items()

    def submit(self, items: Sequence[Item]) -> Future[list[Result]]:
        """Put the items of a call into the queue.

        Returns:
            The future of the results; cancelling it removes the items from the queue.

        Raises:
            QueueFull: The items do not fit, or the batcher is stopped.
        """
        call: _Call[Item, Result] = _Call(items)
        with self._changed:
            self._drop_cancelled()
            waiting = self._count_items()
            if self._stopped or (waiting and waiting + len(items) > self.max_waiting):
                raise QueueFull(
                    f"{waiting} of {self.max_waiting} posts wait already: try again later"
                )
            self._calls.append(call)
            self._changed.notify_all()
        return call.future

    def _count_items(self) -> int:
        """Count the items in the queue, whose lock the caller holds."""
        return sum(len(call.items) for call in self._calls)

    def _drop_cancelled(self) -> None:
        """Remove cancelled calls from the queue, whose lock the caller holds."""
        self._calls = deque(call for call in self._calls if not call.future.cancelled())

    def _run(self) -> None:
        """Compute batches until the batcher is stopped."""
        while not self._stopped:
            self._compute_batch(self._next_batch())

    def _next_batch(self) -> list[_Call[Item, Result]]:
        """Wait for the next batch and take it from the queue.

        Returns:
            The batch; empty if the batcher is stopped or all calls are cancelled.
        """
        with self._changed:
            while not self._calls and not self._stopped:
                self._changed.wait()
            self._wait_for_full_batch()
            batch: list[_Call[Item, Result]] = []
            room = self.batch_size
            while self._calls and (not batch or len(self._calls[0].items) <= room):
                call = self._calls.popleft()
                if call.future.set_running_or_notify_cancel():
                    batch.append(call)
                    room -= len(call.items)
            return batch

    def _wait_for_full_batch(self) -> None:
        """Wait until the queue holds a full batch, at most for ``linger`` seconds."""
        end = monotonic() + self.linger
        while not self._stopped and self._count_items() < self.batch_size:
            seconds_left = end - monotonic()
            if seconds_left <= 0:
                return
            self._changed.wait(seconds_left)

    def _compute_batch(self, batch: Sequence[_Call[Item, Result]]) -> None:
        """Compute calls together, or one by one if that fails, and set their futures."""
        if not batch:
            return
        items: list[Item] = []
        for call in batch:
            items.extend(call.items)
        try:
            results = iter(self._compute(items))
            for call in batch:
                call.future.set_result([next(results) for _ in call.items])
        except Exception as error:
            if len(batch) == 1:
                _LOG.exception("posts could not be processed")
                batch[0].future.set_exception(error)
                return
            for call in batch:
                self._compute_batch([call])
