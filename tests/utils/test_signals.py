"""Signals interrupt a block where it says so, and nowhere else."""

import os
import signal
import threading

import pytest

from mmie.utils.signals import (
    Interruption,
    continued_by,
    signals_ignored,
    termination_interrupts,
)


@pytest.fixture(autouse=True)
def _default_handlers():
    """Default handlers, since Ray leaves one of its own in a process that has used it."""
    previous = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        previous[number] = signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_interrupts_the_block(number):
    before = signal.getsignal(number)

    def send_twice():
        try:
            send(number)
        finally:
            send(number)  # is ignored

    with pytest.raises(Interruption) as caught, termination_interrupts():
        send_twice()
    assert caught.value.number == number
    assert signal.getsignal(number) is before


def test_signals_that_are_ignored_or_handled_keep_their_handlers():
    received = []
    earlier = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with termination_interrupts():
            send(signal.SIGTERM)
            send(signal.SIGHUP)
        with signals_ignored():
            send(signal.SIGTERM)
            send(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, earlier)
        signal.signal(signal.SIGHUP, hangup)
    assert received == [signal.SIGTERM]


def test_other_threads_change_no_handler():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    handlers = []

    def run():
        with termination_interrupts(), signals_ignored():
            handlers.extend([signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == before


def test_the_inner_advice_is_kept():
    with pytest.raises(Interruption) as caught, continued_by("outer"), continued_by("inner"):
        raise Interruption(signal.SIGTERM)
    assert caught.value.advice == "inner"
