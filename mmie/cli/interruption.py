"""What the ``mmie`` command does when a signal interrupts it: one line, and an exit status.

Imports of libraries take seconds, and some of them turn an interrupt into another error or swallow
it. Until the command itself runs, nothing has been written, and the process ends at once. Later,
the signal is raised as `Interruption`, wherever the main thread is.
"""

import os
import signal
import sys
import threading
from types import FrameType

from mmie.utils.processes import is_first_process
from mmie.utils.signals import GOES_ON, Interruption

_SIGNAL_STATUS = 128
"""Exit status of a command that a signal ended, less the number of the signal."""
_NAMES = {signal.SIGTERM: "ended by SIGTERM", signal.SIGHUP: "ended by SIGHUP"}
_RESEND_AFTER = 0.05
"""Seconds after which an interrupt that was lost in a destructor is raised again."""


class InterruptionHandler:
    """Handler of SIGINT while a command runs.

    Attributes:
        advice: How to continue, if the command does not say it.
        number: Signal that has interrupted the command; None if none has.
    """

    def __init__(self) -> None:
        self.advice = GOES_ON
        self.number: int | None = None
        self._is_running = False

    def install(self) -> None:
        """Handle SIGINT, unless the process ignores it or is not the main thread."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            sys.unraisablehook = self._raise_again

    def uninstall(self) -> None:
        """Restore Python's handler."""
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = sys.__unraisablehook__

    def start_command(self, advice: str) -> None:
        """Raise interrupts from now on, since the command itself runs."""
        self.advice = advice
        self._is_running = True

    def status(self, failed: int) -> int:
        """Return the exit status of a command that reports its end itself.

        Args:
            failed: The status if no signal has interrupted the command.
        """
        return failed if self.number is None else _SIGNAL_STATUS + self.number

    def report(self, number: int, advice: str = "") -> int:
        """Print the line that says how to continue, and return the exit status."""
        self.number = number
        if is_first_process():
            name = _NAMES.get(signal.Signals(number), "interrupted")
            print(f"mmie: {name}, {advice or self.advice}", file=sys.stderr, flush=True)
        return _SIGNAL_STATUS + number

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Raise `Interruption`, or end at once before the command runs and at a second signal."""
        if not self._is_running or self.number is not None:
            os._exit(self.report(number))
        self.number = number
        raise Interruption(number)

    def _raise_again(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Raise an interrupt again that arrived in a destructor, where Python would drop it."""
        if not isinstance(unraisable.exc_value, Interruption):
            sys.__unraisablehook__(unraisable)
            return
        self.number = None
        main_thread = threading.main_thread().ident
        timer = threading.Timer(_RESEND_AFTER, signal.pthread_kill, (main_thread, signal.SIGINT))
        timer.daemon = True
        timer.start()
