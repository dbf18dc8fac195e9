"""SHA-256 of the checkpoints in a run folder, in the section ``checkpoints`` of ``metrics.json``.

While a checkpoint is replaced, the section holds the digests of the old file and of the new one, so
that an interruption at any moment leaves a digest that fits.
"""

from collections.abc import Sequence
from pathlib import Path

from mmie.runs.metrics import read_metrics, write_metrics

CHECKPOINTS = "checkpoints"


def record_checkpoint(file: Path, digests: Sequence[str]) -> None:
    """Record the digests that a checkpoint may have.

    Raises:
        RunError: ``metrics.json`` is damaged.
        OSError: ``metrics.json`` cannot be read or written.
    """
    sections = read_metrics(file.parent)
    recorded = {**sections.get(CHECKPOINTS, {}), file.name: list(digests)}
    write_metrics(file.parent, {**sections, CHECKPOINTS: recorded})


def recorded_digests(file: Path) -> list[str]:
    """Return the digests that a checkpoint may have. Without a record there are none.

    Raises:
        RunError: ``metrics.json`` is damaged.
        OSError: ``metrics.json`` cannot be read.
    """
    recorded = read_metrics(file.parent).get(CHECKPOINTS)
    digests = recorded.get(file.name) if isinstance(recorded, dict) else None
    return list(map(str, digests)) if isinstance(digests, list) else []
