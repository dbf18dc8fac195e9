"""Batches of several callers, the bounded queue, failures and the end."""

import threading
import time

import pytest

from mmie.app.batcher import Batcher, QueueFull


class Doubler:
    """Function that doubles numbers once it is unblocked, and fails on batches with a 13."""

    def __init__(self):
        self.batches = []
        self.unblocked = threading.Event()

    def __call__(self, numbers):
        self.batches.append(numbers)
        assert self.unblocked.wait(10)
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
    doubler.unblocked.set()
    made.stop()


def block(batcher, doubler):
    """Block the thread with one item, so that later items wait."""
    future = batcher.submit([0])
    while not doubler.batches:
        time.sleep(0.002)
    return future


def test_calls_take_turns(batcher, doubler):
    first = block(batcher, doubler)
    futures = [batcher.submit(numbers) for numbers in ([1, 2, 3], [4], [5, 6])]
    doubler.unblocked.set()
    assert [future.result(5) for future in (first, *futures)] == [[0], [2, 4, 6], [8], [10, 12]]
    assert doubler.batches == [[0], [1, 4, 5, 2], [6, 3]]


def test_weight_of_a_batch_is_bounded(doubler):
    batcher = Batcher(doubler, 4, 9, linger=0.0, weigh=lambda number: number, max_weight=10)
    batcher.start()
    block(batcher, doubler)
    futures = [batcher.submit(numbers) for numbers in ([6, 5], [3, 20], [1])]
    doubler.unblocked.set()
    assert [future.result(5) for future in futures] == [[12, 10], [6, 40], [2]]
    assert doubler.batches == [[0], [6, 3, 1], [5], [20]]
    batcher.stop()


def test_cancelled_call_is_not_computed_further(doubler):
    batcher = Batcher(doubler, batch_size=1, max_waiting=9, linger=0.0)
    batcher.start()
    given_up = batcher.submit([1, 2, 3])
    while not doubler.batches:
        time.sleep(0.002)
    other = batcher.submit([4])
    assert given_up.cancel()
    assert batcher.num_waiting == 1
    doubler.unblocked.set()
    assert other.result(5) == [8]
    assert doubler.batches == [[1], [4]]
    batcher.stop()


def test_queue_is_bounded_and_cancelled_calls_leave_it(batcher, doubler):
    block(batcher, doubler)
    waiting = batcher.submit([1, 2, 3, 4])
    with pytest.raises(QueueFull, match="4 of 6 posts wait already"):
        batcher.submit([5, 6, 7])
    assert waiting.cancel()
    assert batcher.num_waiting == 0
    later = batcher.submit([5, 6, 7])
    doubler.unblocked.set()
    assert later.result(5) == [10, 12, 14]
    assert [1, 2, 3, 4] not in doubler.batches


def test_call_larger_than_a_batch_or_the_queue_is_computed(batcher, doubler):
    doubler.unblocked.set()
    assert batcher.submit(list(range(9))).result(5) == [2 * number for number in range(9)]
    assert max(map(len, doubler.batches)) == 4


def test_failure_affects_only_its_caller(batcher, doubler):
    block(batcher, doubler)
    good, bad = batcher.submit([1]), batcher.submit([13])
    doubler.unblocked.set()
    assert good.result(5) == [2]
    with pytest.raises(ValueError, match="13"):
        bad.result(5)
    assert batcher.submit([3]).result(5) == [6]


def test_first_call_lingers_for_others():
    batches = []

    def record(numbers):
        batches.append(numbers)
        return numbers

    batcher = Batcher(record, batch_size=2, max_waiting=9, linger=5.0)
    batcher.start()
    futures = [batcher.submit([1]), batcher.submit([2])]
    assert [future.result(2) for future in futures] == [[1], [2]]
    assert batches == [[1, 2]]
    batcher.stop()


def test_stop_cancels_the_queue_and_refuses_later_calls(batcher, doubler):
    running = block(batcher, doubler)
    waiting = batcher.submit([1])
    threading.Timer(0.05, doubler.unblocked.set).start()
    batcher.stop()
    assert running.result(0) == [0]
    assert waiting.cancelled()
    assert not batcher.is_alive
    with pytest.raises(QueueFull):
        batcher.submit([1])
