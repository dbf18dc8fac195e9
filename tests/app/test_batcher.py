import threading
import time

import pytest

from mmie.app.batcher import Batcher, QueueFull


class Doubler:
    """Doubles numbers once it may; refuses batches with a 13."""

    def __init__(self):
        self.batches = []
        self.go = threading.Event()

    def __call__(self, numbers):
        self.batches.append(numbers)
        assert self.go.wait(10)
        if 13 in numbers:
            raise ValueError("13")
        return [2 * number for number in numbers]


@pytest.fixture
def doubler():
    return Doubler()


@pytest.fixture
def batcher(doubler):
    made = Batcher(doubler, batch_size=4, max_waiting=6, linger=0.0)
    made.start()
    yield made
    doubler.go.set()
    made.stop()


def hold(batcher, doubler):
    """Keep the thread busy with one question, so that what follows waits."""
    future = batcher.submit([0])
    while not doubler.batches:
        time.sleep(0.002)
    return future


def test_what_waits_is_answered_together_and_calls_are_not_parted(batcher, doubler):
    first = hold(batcher, doubler)
    futures = [batcher.submit(numbers) for numbers in ([1, 2], [3], [4, 5])]
    doubler.go.set()
    assert [future.result(5) for future in (first, *futures)] == [[0], [2, 4], [6], [8, 10]]
    assert doubler.batches == [[0], [1, 2, 3], [4, 5]]


def test_the_queue_is_bounded_and_a_cancelled_call_makes_room(batcher, doubler):
    hold(batcher, doubler)
    waiting = batcher.submit([1, 2, 3, 4])
    with pytest.raises(QueueFull, match="4 of 6 posts wait already"):
        batcher.submit([5, 6, 7])
    assert waiting.cancel()
    assert batcher.waiting == 0
    later = batcher.submit([5, 6, 7])
    doubler.go.set()
    assert later.result(5) == [10, 12, 14]
    assert [1, 2, 3, 4] not in doubler.batches


def test_a_call_larger_than_a_batch_or_the_queue_is_answered_alone(batcher, doubler):
    doubler.go.set()
    assert batcher.submit(list(range(9))).result(5) == [2 * number for number in range(9)]


def test_a_failure_is_its_callers_alone(batcher, doubler):
    hold(batcher, doubler)
    good, bad = batcher.submit([1]), batcher.submit([13])
    doubler.go.set()
    assert good.result(5) == [2]
    with pytest.raises(ValueError, match="13"):
        bad.result(5)
    assert batcher.submit([3]).result(5) == [6]


def test_a_batch_waits_a_moment_for_others():
    batches = []
    batcher = Batcher(
        lambda numbers: batches.append(numbers) or numbers, batch_size=2, max_waiting=9, linger=5.0
    )
    batcher.start()
    futures = [batcher.submit([1]), batcher.submit([2])]
    assert [future.result(2) for future in futures] == [[1], [2]]
    assert batches == [[1, 2]]
    batcher.stop()


def test_after_the_end_nothing_waits_and_nothing_is_taken(batcher, doubler):
    running = hold(batcher, doubler)
    waiting = batcher.submit([1])
    threading.Timer(0.05, doubler.go.set).start()
    batcher.stop()
    assert running.result(0) == [0]
    assert waiting.cancelled()
    assert not batcher.is_alive
    with pytest.raises(QueueFull):
        batcher.submit([1])
