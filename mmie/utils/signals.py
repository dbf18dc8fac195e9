"""Interruptions by signals, raised where the main thread is, and how to continue after one.

The module imports nothing but the standard library, since a signal may arrive before the rest of
the package is imported.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a process to end."""
GOES_ON = "the same command goes on"
"""Advice after an interruption that loses nothing."""
AGAIN = "give the same command again"
"""Advice after an interruption of a command that begins anew."""


class Interruption(KeyboardInterrupt):
    """End of a command by a signal.

    Attributes:
        number: Number of the signal.
        advice: How to continue; empty if the command does not say it.
    """

    def __init__(self, number: int = signal.SIGINT, advice: str = "") -> None:
        super().__init__(number, advice)
        self.number = number
        self.advice = advice


@contextmanager
def continued_by(advice: str) -> Iterator[None]:
    """Say how to continue after an interruption of the block, unless an inner block says it."""
    try:
        yield
    except Interruption as error:
        error.advice = error.advice or advice
        raise


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Raise `Interruption` at SIGTERM and SIGHUP, so that the block can end in order.

    Signals that the process ignores, as under ``nohup``, or handles already keep their handlers.
    Nothing changes outside the main thread, which alone receives signals.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second signal must not disturb the end
        raise Interruption(number)

    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                previous[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore signals that ask the process to end, for a block that takes a bounded time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
