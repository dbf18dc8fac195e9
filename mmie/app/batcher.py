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
    """Items that were submitted together, and the future of their results.

    Attributes:
        items: The items.
        future: The future, which stays cancellable until all results are there.
        results: Results by the index of their item.
        num_taken: Number of items that are computed or being computed.
    """

    items: Sequence[Item]
    future: Future[list[Result]] = field(default_factory=Future)
    results: dict[int, Result] = field(default_factory=dict)
    num_taken: int = 0


class Batcher(Generic[Item, Result]):
    """Thread that computes the items of several calls together.

    Calls take turns: a batch has one item of each, then a second of each, so that no call keeps the
    others waiting for longer than a batch takes. Items of a call that is cancelled are not
    computed, except those of the running batch. If a batch fails, its items are computed one by
    one, so that a caller's items cannot spoil another caller's results.

    Args:
        compute: Returns the results of items, in order; called by the batcher's thread alone.
        batch_size: Most items of a batch.
        max_waiting: Most items in the queue; a call with more still fits into an empty queue.
        linger: Seconds that the first item waits for others to share its batch.
        weigh: Returns the weight of an item, such as the memory that it takes; None is no weight.
        max_weight: Largest weight of a batch; an item with more is a batch of its own.
    """

    def __init__(
        self,
        compute: Callable[[list[Item]], list[Result]],
        batch_size: int,
        max_waiting: int,
        linger: float,
        weigh: Callable[[Item], int] | None = None,
        max_weight: int = 0,
    ) -> None:
        self._compute = compute
        self.batch_size = batch_size
        self.max_waiting = max_waiting
        self.linger = linger
        self._weigh = weigh
        self.max_weight = max_weight
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
            self._drop_ended()
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
            self._drop_ended()
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
        return sum(len(call.items) - call.num_taken for call in self._calls)

    def _drop_ended(self) -> None:
        """Remove cancelled and failed calls from the queue, whose lock the caller holds."""
        self._calls = deque(call for call in self._calls if not call.future.done())

    def _run(self) -> None:
        """Compute batches until the batcher is stopped."""
        while not self._stopped:
            self._compute_batch(self._next_batch())

    def _next_batch(self) -> list[tuple[_Call[Item, Result], int]]:
        """Wait for the next batch and take it from the queue.

        Returns:
            Calls and the indices of their items; empty if the batcher is stopped or all calls are
            cancelled.
        """
        with self._changed:
            while not self._calls and not self._stopped:
                self._changed.wait()
            self._wait_for_full_batch()
            self._drop_ended()
            batch: list[tuple[_Call[Item, Result], int]] = []
            room = self.max_weight
            while self._calls and len(batch) < self.batch_size:
                call, index = self._calls[0], self._calls[0].num_taken
                weight = self._weigh(call.items[index]) if self._weigh is not None else 0
                if batch and weight > room:
                    break
                room -= weight
                batch.append((call, index))
                call.num_taken += 1
                self._calls.popleft()
                if call.num_taken < len(call.items):
                    self._calls.append(call)
            return batch

    def _wait_for_full_batch(self) -> None:
        """Wait until the queue holds a full batch, at most for ``linger`` seconds."""
        end = monotonic() + self.linger
        while not self._stopped and self._count_items() < self.batch_size:
            seconds_left = end - monotonic()
            if seconds_left <= 0:
                return
            self._changed.wait(seconds_left)

    def _compute_batch(self, batch: Sequence[tuple[_Call[Item, Result], int]]) -> None:
        """Compute items together, or one by one if that fails, and set the futures of their calls.

        Args:
            batch: Calls and the indices of their items.
        """
        batch = [(call, index) for call, index in batch if not call.future.done()]
        if not batch:
            return
        try:
            results = self._compute([call.items[index] for call, index in batch])
        except Exception as error:
            if len(batch) > 1:
                for entry in batch:
                    self._compute_batch([entry])
                return
            _LOG.exception("a post could not be processed")
            ((call, _),) = batch
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)
            return
        for (call, index), result in zip(batch, results, strict=True):
            call.results[index] = result
            is_complete = len(call.results) == len(call.items)
            if is_complete and call.future.set_running_or_notify_cancel():
                call.future.set_result([call.results[i] for i in range(len(call.items))])
