"""Files of crops and indices, there whole or not at all."""

from collections.abc import Callable
from pathlib import Path

from mmie import files
from mmie.grounding.detection import GroundingError


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """As `mmie.files.write_whole`.

    Raises:
        GroundingError: The file cannot be written.
    """
    try:
        files.write_whole(file, write)
    except OSError as error:
        raise GroundingError(f"{file}: cannot be written: {error.strerror or error}") from error
