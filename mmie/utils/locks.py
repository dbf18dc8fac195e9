"""Locks of files and folders that a command fills over time, so that each has one writer.

A lock ends with its process, however the process ends. A file beside the lock names the process
that holds it. Both are removed when the lock is released. A killed process leaves them behind
without effect. What killed processes left half written in a lock's folder is removed when the lock
is taken.
"""

import errno
import fcntl
import json
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from filelock import FileLock, Timeout

from mmie.types import MmieError
from mmie.utils.files import atomic_write_text
from mmie.utils.partial_files import remove_stale_partials
from mmie.utils.text import describe_os_error

_MAX_HOLDER = 4096
"""Most bytes of a holder's record that are read."""
_PATIENCE = 1.0
"""Seconds that a new holder may take to write its record."""


class LockError(MmieError, RuntimeError):
    """A target that another process fills, or one that cannot be locked."""


class _Holder(NamedTuple):
    """Process that holds a lock.

    Attributes:
        pid: Its process id.
        host: Name of its machine.
        since: Time at which it took the lock, in ISO format.
    """

    pid: int
    host: str
    since: str

    @property
    def has_ended(self) -> bool:
        """Whether the process was one of this machine and has ended."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # a process of another user
            return False
        return False


@contextmanager
def file_lock(file: Path) -> Iterator[None]:
    """Hold the lock of a file, which is ``<file>.lock`` beside it.

    A thread may take a lock that it holds once more.

    Raises:
        LockError: Another process or thread holds the lock, or the lock cannot be written.
    """
    with _lock(file.with_name(f"{file.name}.lock"), file):
        yield


@contextmanager
def folder_lock(folder: Path, purpose: str = "run") -> Iterator[None]:
    """Hold the lock of a folder, which is ``.<purpose>.lock`` inside it.

    A folder that does not exist is made, and removed again if it is empty at the end.

    Args:
        folder: The folder.
        purpose: Name of what fills the folder. Locks of different purposes do not exclude each
            other.

    Raises:
        LockError: Another process or thread holds the lock, or the lock cannot be written.
    """
    with _lock(folder / f".{purpose}.lock", folder):
        yield


def hold_with_children(stream: BinaryIO) -> None:
    """Lock an open file until this process, and those that inherit the file, have closed it.

    A lock that is not to be had is no error: the file system may have none, or a process that
    inherited an earlier one may be about to end.
    """
    with suppress(OSError):
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(file: Path) -> bool:
    """Tell whether a process has a file open that `hold_with_children` locked."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _lock(path: Path, target: Path) -> Iterator[None]:
    """Hold a lock.

    Args:
        path: The lock file.
        target: What the lock protects, for the error.

    Raises:
        LockError: Another process or thread holds the lock, or the lock cannot be written.
    """
    path = path.absolute()
    holder_file = path.with_name(f"{path.name}.holder")
    new_folders = _missing_folders(path.parent)
    lock = FileLock(path, is_singleton=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_plain(path)
        lock.acquire(timeout=0)
    except Timeout:
        _remove_empty(new_folders)
        raise LockError(
            f"{target} is being written by {_describe_holder(holder_file)}: wait until it ends, "
            "or name another target"
        ) from None
    except OSError as error:
        _remove_empty(new_folders)
        raise LockError(_cannot_lock(target, path, error)) from error
    is_outermost = lock.lock_counter == 1
    try:
        if is_outermost:
            remove_stale_partials(path.parent)
            _write_holder(holder_file, target)
        yield
    finally:
        if is_outermost:
            with suppress(OSError):
                holder_file.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
        lock.release()
        _remove_empty(new_folders)


def _check_plain(path: Path) -> None:
    """Raise if a lock would be written through a link.

    Raises:
        OSError: The path is a link, or a file with another hard link.
    """
    with suppress(FileNotFoundError):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise OSError(errno.ELOOP, "expected a plain file, found a link", str(path))


def _write_holder(file: Path, target: Path) -> None:
    """Record this process as the holder of a lock.

    Raises:
        LockError: The file cannot be written.
    """
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    holder = _Holder(os.getpid(), socket.gethostname(), now)
    try:
        atomic_write_text(file, json.dumps(holder._asdict()))
    except OSError as error:
        raise LockError(_cannot_lock(target, file, error)) from error


def _cannot_lock(target: Path, path: Path, error: OSError) -> str:
    """Say in one line why a lock cannot be written."""
    reason = describe_os_error(OSError(error.errno, error.strerror or str(error), str(path)))
    return f"{target} cannot be locked: {reason}"


def _describe_holder(file: Path) -> str:
    """Name the process that holds a lock, its machine and since when it holds the lock.

    A record of a process that has ended belongs to an earlier holder.
    """
    limit = time.monotonic() + _PATIENCE
    while True:
        holder = _read_holder(file)
        if holder is not None and not holder.has_ended:
            return f"process {holder.pid} on {holder.host} since {holder.since}"
        if time.monotonic() > limit:
            return "another process"
        time.sleep(0.05)


def _read_holder(file: Path) -> _Holder | None:
    """Read the record of a lock's holder, or None if there is none or it is damaged."""
    try:
        if file.is_symlink() or not file.is_file():
            return None
        with file.open("rb") as stream:
            record = json.loads(stream.read(_MAX_HOLDER))
        pid, host, since = int(record["pid"]), str(record["host"]), str(record["since"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_valid = re.fullmatch(r"[\w.:-]+", host) and re.fullmatch(r"[\dT:+-]+", since)
    return _Holder(pid, host, since) if is_valid and 0 < pid < 2**31 else None


def _missing_folders(folder: Path) -> list[Path]:
    """List a folder and its parents that do not exist, the innermost first."""
    missing = []
    while not folder.exists() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    return missing


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders that are empty, the innermost first."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
