"""Processes of a sweep's runs, which end with it."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO

from mmie.experiments.sweep import SweepError
from mmie.utils.signals import signals_ignored

_GRACE = 30.0
"""Seconds that a process may take to end after SIGTERM, before it is killed."""


class RunProcesses:
    """Processes that run now. Threads may start them, and the main thread may end all of them.

    Each leads a process group, so that Ctrl-C in a terminal reaches the sweep alone, which passes
    it on once, and no process that a run has started stays behind.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._has_ended = False

    def run(self, line: Sequence[str], environment: Mapping[str, str], log: BinaryIO) -> int:
        """Run a command line with output to a log, and return its exit status.

        Raises:
            SweepError: The processes were ended.
        """
        with self._lock:
            if self._has_ended:
                raise SweepError("the sweep was ended")
            process = subprocess.Popen(
                line,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            self._running.add(process)
        status = process.wait()
        with self._lock:
            self._running.discard(process)
        return status

    def end(self) -> None:
        """Pass SIGTERM on to all processes, wait for them, and start no others.

        A process that takes too long is killed, with all that it has started.
        """
        with signals_ignored():
            with self._lock:
                self._has_ended = True
                running = list(self._running)
            for process in running:
                process.terminate()
            limit = time.monotonic() + _GRACE
            for process in running:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, limit - time.monotonic()))
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
