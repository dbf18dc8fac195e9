"""Names of files that are being written, and removal of those that killed processes have left.

A name says which process writes the file: its id, and a digest of where this id is unique.
"""

import functools
import hashlib
import os
import re
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path

STALE_SECONDS = 24 * 3600
"""Age from which a file is no longer being written, whoever wrote it."""
_NAME = re.compile(r"\.[0-9a-f]{32}(?:\.([0-9a-f]{8})-(\d+))?\.partial(?:\..*)?", re.DOTALL)
"""Form of a name. Versions before 0.2 did not name the process."""


def partial_path(file: Path) -> Path:
    """Return a new path beside a file, with its suffix, under which this process may write it."""
    name = f".{uuid.uuid4().hex}.{_process_space()}-{os.getpid()}.partial{file.suffix}"
    return file.with_name(name)


def remove_stale_partials(folder: Path) -> None:
    """Remove the half-written files of a folder whose processes have ended.

    Files of other machines are removed a day after their last change.
    """
    with suppress(OSError):  # the folder does not exist, or cannot be read
        for file in folder.glob(".*.partial*"):
            match = _NAME.fullmatch(file.name)
            if match and _is_stale(file, *match.groups()):
                with suppress(OSError):  # another process has removed it, or it is not ours
                    file.unlink()


def _is_stale(file: Path, process_space: str | None, process: str | None) -> bool:
    """Tell whether a half-written file is left over.

    Args:
        file: The file.
        process_space: Digest of where the process id is unique; None if the name does not say.
        process: Id of the process that writes it; None if the name does not say.
    """
    if process is not None and process_space == _process_space() and _has_ended(int(process)):
        return True
    try:
        return time.time() - file.lstat().st_mtime > STALE_SECONDS
    except OSError:
        return False


def _has_ended(process: int) -> bool:
    """Tell whether no process of this machine has an id."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # a process of another user, or a number that is no id
        return False
    return False


@functools.cache
def _process_space() -> str:
    """Return a digest of where process ids are unique, as eight hexadecimal digits.

    On Linux, this is the namespace of process ids in one boot of a machine, since containers may
    share a machine's name and its folders. Elsewhere it is the machine's name.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
        space = boot + os.readlink("/proc/self/ns/pid")
    except OSError:
        space = socket.gethostname()
    return hashlib.sha256(space.encode()).hexdigest()[:8]
