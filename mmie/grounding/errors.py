"""Errors of grounding."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmie.types import MmieError


class GroundingError(MmieError, ValueError):
    """Input that cannot be grounded, or a file that cannot be written.

    The message is one line that tells the fix.
    """


@contextmanager
def write_errors(file: Path) -> Iterator[None]:
    """Convert errors of writing a file.

    Raises:
        GroundingError: The file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise GroundingError(f"{file}: cannot be written: {error.strerror or error}") from error
