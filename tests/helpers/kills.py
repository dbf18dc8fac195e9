"""Kills of processes at changes of files, at random moments, and together with their children.

The module imports nothing but the standard library, since every process of a sweep imports it.
"""

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

CHANGE_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.link", "shutil.move")
"""Audit events of changes to files, beside ``open`` for writing."""
HOOK = "from helpers.kills import follow_environment; follow_environment()"
"""Module ``sitecustomize``, which every Python process imports that finds it in ``PYTHONPATH``."""
_FOLDER, _COUNTER, _NUMBER, _ROOT = "KILL_FOLDER", "KILL_COUNTER", "KILL_NUMBER", "KILL_ROOT"
_TREE = "tree"
Prepare = Callable[[], None]


def kill_at_change(number: int, delay: float, *folders: Path) -> Prepare:
    """Return a function that makes its process kill itself at a change of a file.

    Args:
        number: Number of the change in the folders, counted from 1.
        delay: Seconds between the beginning of the change and the kill.
        *folders: Folders whose changes count.
    """
    return functools.partial(_kill_at_change, number, delay, folders)


def _kill_at_change(number: int, delay: float, folders: Sequence[Path]) -> None:
    """Make this process kill itself at a change of a file."""
    count = 0

    def audit(event: str, details: tuple[Any, ...]) -> None:
        nonlocal count
        if _is_change(event, details, folders):
            count += 1
            if count == number:
                _kill_this_process(delay)

    sys.addaudithook(audit)


def log_changes(log: Path, *folders: Path) -> Prepare:
    """Return a function that makes its process log every change of a file in the folders."""
    return functools.partial(_log_changes, log, folders)


def _log_changes(log: Path, folders: Sequence[Path]) -> None:
    """Make this process log every change of a file in the folders."""
    stream = log.open("a", buffering=1)

    def audit(event: str, details: tuple[Any, ...]) -> None:
        if _is_change(event, details, folders):
            stream.write(f"{event} {details[:2]}\n")

    sys.addaudithook(audit)


def kill_environment(folder: Path, counter: Path, number: int, whole_tree: bool) -> dict[str, str]:
    """Return the environment in which a command's processes kill themselves at a change of a file.

    All processes count together. The command's first process, which is forked, has to call
    `follow_environment` itself.

    Args:
        folder: Folder whose changes count.
        counter: File that grows by a byte for each change. A module for the processes is written
            beside it.
        number: Number of the change, counted from 1; 0 kills nothing.
        whole_tree: Whether to kill the first process with all that it has started, or else the
            process alone that makes the change.
    """
    (counter.parent / "sitecustomize.py").write_text(HOOK)
    search_path = [str(counter.parent), str(Path(__file__).parents[1]), os.getenv("PYTHONPATH")]
    return {
        _FOLDER: str(folder),
        _COUNTER: str(counter),
        _NUMBER: str(number),
        _ROOT: _TREE if whole_tree else "",
        "PYTHONPATH": os.pathsep.join(filter(None, search_path)),
    }


def follow_environment() -> None:
    """Make this process count changes of files and kill as `kill_environment` says."""
    if os.environ[_ROOT] == _TREE:
        os.environ[_ROOT] = str(os.getpid())  # the processes that this one starts inherit it
    folders, counter = [Path(os.environ[_FOLDER])], os.environ[_COUNTER]
    number, root = int(os.environ[_NUMBER]), os.environ[_ROOT]

    def audit(event: str, details: tuple[Any, ...]) -> None:
        if not _is_change(event, details, folders) or _count(counter) != number:
            return
        if root:
            kill_tree(int(root))
        os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)


def kill_tree(pid: int) -> None:
    """Kill a process and all that it has started."""
    own = os.getpid()
    if pid != own:
        os.kill(pid, signal.SIGSTOP)  # it starts no others
    processes = sorted([pid, *descendants(pid)], key=lambda process: process == own)
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have started."""
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = file.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(file.parent.name))
    found = list(children.get(pid, []))
    for process in found:  # grows
        found += children.get(process, [])
    return found


def processes_with(value: object) -> list[int]:
    """Return the processes that were started with a text in their environment and still run."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if str(value).encode() in file.read_bytes():
                found.append(int(file.parent.name))
    return found


def _count(counter: str) -> int:
    """Add a byte to a file and return its size."""
    descriptor = os.open(counter, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, b".")
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _is_change(event: str, details: tuple[Any, ...], folders: Sequence[Path]) -> bool:
    """Tell whether an audit event is a change of a file in the folders."""
    is_writing = False
    if event == "open":
        _, mode, flags = details
        is_writing = bool(set("wax+") & set(mode) if mode else flags & (os.O_WRONLY | os.O_RDWR))
    if event not in CHANGE_EVENTS and not is_writing:
        return False
    prefixes = tuple(str(folder) for folder in folders)
    return any(str(path).startswith(prefixes) for path in details[:2])


def _kill_this_process(delay: float) -> None:
    """Kill this process after some seconds."""

    def kill() -> None:
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    if delay:
        threading.Thread(target=kill, daemon=True).start()
    else:
        kill()
