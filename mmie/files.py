"""Files that are there whole or not at all."""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name beside it and rename it; the folder is made if need be.

    A reader, or a run beside this one, sees the old file or the new one, and a kill leaves the old one.

    Args:
        file: The file.
        write: Writes to the path that it is given, which has the file's suffix.

    Raises:
        OSError: The file cannot be written; an older one stays as it is.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{uuid.uuid4().hex}.partial{file.suffix}")
    try:
        write(partial)
        os.replace(partial, file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def digest_file(file: Path) -> str:
    """SHA-256 of a file; of a folder that of its files' digests, in the order of their names."""
    if file.is_dir():
        parts = [digest_file(part) for part in sorted(file.iterdir()) if part.is_file()]
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
