"""Files of crops and indices, there whole or not at all."""

from collections.abc import Callable
from pathlib import Path

from mmie.grounding.detection import GroundingError
from mmie.utils import files


def atomic_write(file: Path, write: Callable[[Path], object]) -> None:
    """As `mmie.utils.files.atomic_write`.

    Raises:
        GroundingError: The file cannot be written.
    """
    try:
        files.atomic_write(file, write)
    except OSError as error:
        raise GroundingError(f"{file}: cannot be written: {error.strerror or error}") from error
