"""Where the outcome of a test goes: one with other pictures than the run's own must not replace the main one.

The main test is the one with the right pictures, or with those that the run was trained with (``config.yaml``). A test
with shuffled pictures goes to ``test_shuffled`` and ``predictions_shuffled.jsonl``, one without to ``test_none`` and
``predictions_none.jsonl``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer

MAIN_PICTURES = "right"


def picture_suffix(folder: Path, pictures: str) -> str:
    """What the names of sections and files end in for a test with ``pictures``; empty for the main test.

    Args:
        folder: Run folder.
        pictures: What `MultimodalDataModule` calls ``pictures``.
    """
    return (
        "" if pictures in (MAIN_PICTURES, _own_pictures(folder / "config.yaml")) else f"_{pictures}"
    )


def pictures_of(trainer: Trainer) -> str:
    """The pictures that the trainer's data module gives; the right ones if it knows no others."""
    return str(getattr(trainer.datamodule, "pictures", MAIN_PICTURES))  # type: ignore[attr-defined]


def joined_tests(known: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, Any]:
    """A section for all tests of one checkpoint with shuffled pictures, which differ from seed to seed.

    Args:
        known: The section so far; empty if there is none. Tests of another checkpoint are dropped, and so is an
            earlier one with the same seed.
        outcome: Scores of the new test, its ``checkpoint`` and ``seed``.

    Returns:
        The means of all scores, the checkpoint, and ``runs``, each with its seed.

    >>> once = joined_tests({}, {"test/f1": 0.5, "checkpoint": "best.ckpt", "seed": 1})
    >>> joined_tests(once, {"test/f1": 0.75, "checkpoint": "best.ckpt", "seed": 2})["test/f1"]
    0.625
    """
    kept = [
        run
        for run in known.get("runs", [])
        if run["checkpoint"] == outcome["checkpoint"] and run["seed"] != outcome["seed"]
    ]
    runs = [*kept, dict(outcome)]
    scores = [name for name in outcome if name.startswith("test/")]
    means = {name: sum(run[name] for run in runs) / len(runs) for name in scores}
    return {**outcome, **means, "runs": runs}


def _own_pictures(config: Path) -> str | None:
    """The pictures that a saved configuration asks for; None if it says nothing."""
    if not config.exists():
        return None
    pictures = (yaml.safe_load(config.read_text(encoding="utf-8")).get("data") or {}).get(
        "pictures"
    )
    return None if pictures is None else str(pictures)
