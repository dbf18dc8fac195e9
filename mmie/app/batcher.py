"""A bounded queue of questions, answered in batches by one thread."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

from mmie.types import MmieError

Question = TypeVar("Question")
Reply = TypeVar("Reply")
_LOG = logging.getLogger(__name__)


class QueueFull(MmieError, RuntimeError):
    """More questions wait than the queue holds."""


@dataclass(eq=False, slots=True)
class _Job(Generic[Question, Reply]):
    """Questions that were put together, and the place of their answers."""

    questions: Sequence[Question]
    future: Future[list[Reply]] = field(default_factory=Future)


class Batcher(Generic[Question, Reply]):
    """Answers questions of several callers together.

    The questions of one call are never parted. What fails is tried again call by call, so that one caller's questions
    cannot spoil another's answers.

    Args:
        answer: Answers questions, in order; called by one thread alone.
        batch_size: Questions that are answered together; a call with more is answered by itself.
        max_waiting: Questions that wait; a call with more still finds place in an empty queue.
        linger: Seconds that the first question waits for others.
    """

    def __init__(
        self,
        answer: Callable[[list[Question]], list[Reply]],
        batch_size: int,
        max_waiting: int,
        linger: float,
    ) -> None:
        self._answer = answer
        self.batch_size = batch_size
        self.max_waiting = max_waiting
        self.linger = linger
        self._jobs: deque[_Job[Question, Reply]] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Give up what waits, and let what is being answered end, for at most some seconds."""
        with self._changed:
            self._stopped = True
            for job in self._jobs:
                job.future.cancel()
            self._jobs.clear()
            self._changed.notify_all()
        self._thread.join(seconds)

    @property
    def is_alive(self) -> bool:
        """Whether questions are answered."""
        return self._thread.is_alive() and not self._stopped

    @property
    def waiting(self) -> int:
        """Questions that wait."""
        with self._changed:
            self._drop_cancelled()
            return self._count()

    def submit(self, questions: Sequence[Question]) -> Future[list[Reply]]:
        """Put questions into the queue; cancelling the result takes them out again.

        Raises:
            QueueFull: They do not fit.
        """
        job: _Job[Question, Reply] = _Job(questions)
        with self._changed:
            self._drop_cancelled()
            waiting = self._count()
            if self._stopped or (waiting and waiting + len(questions) > self.max_waiting):
                raise QueueFull(
                    f"{waiting} of {self.max_waiting} posts wait already: try again later"
                )
            self._jobs.append(job)
            self._changed.notify_all()
        return job.future

    def _count(self) -> int:
        return sum(len(job.questions) for job in self._jobs)

    def _drop_cancelled(self) -> None:
        """Forget the questions of callers that have gone."""
        self._jobs = deque(job for job in self._jobs if not job.future.cancelled())

    def _run(self) -> None:
        """Answer until stopped."""
        while not self._stopped:
            self._reply(self._gather())

    def _gather(self) -> list[_Job[Question, Reply]]:
        """The next batch; empty if its callers have gone."""
        with self._changed:
            while not self._jobs and not self._stopped:
                self._changed.wait()
            end = monotonic() + self.linger
            while (
                not self._stopped
                and self._count() < self.batch_size
                and (left := end - monotonic()) > 0
            ):
                self._changed.wait(left)
            taken: list[_Job[Question, Reply]] = []
            room = self.batch_size
            while self._jobs and (not taken or len(self._jobs[0].questions) <= room):
                job = self._jobs.popleft()
                if job.future.set_running_or_notify_cancel():
                    taken.append(job)
                    room -= len(job.questions)
            return taken

    def _reply(self, jobs: Sequence[_Job[Question, Reply]]) -> None:
        """Answer some jobs together; one by one if that fails."""
        if not jobs:
            return
        try:
            replies = iter(self._answer([question for job in jobs for question in job.questions]))
            for job in jobs:
                job.future.set_result([next(replies) for _ in job.questions])
        except Exception as error:
            if len(jobs) == 1:
                _LOG.exception("posts could not be answered")
                jobs[0].future.set_exception(error)
                return
            for job in jobs:
                self._reply([job])
