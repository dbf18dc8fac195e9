"""Names and averages of tests with other pictures than a run's own.

The main test is the one with the right pictures, or with those that the run was trained with
(``config.yaml``). A test with shuffled pictures goes to the section ``test_shuffled`` and to
``predictions_shuffled.jsonl``. A test without pictures goes to ``test_none`` and
``predictions_none.jsonl``.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from mmie.runs.facts import belong_together
from mmie.runs.folder import CONFIG, PREDICTIONS, UNSCORED
from mmie.runs.metrics import is_partial, read_config, with_prefix

RIGHT_PICTURES = "right"
PICTURE_TESTS = {"shuffled": "test_shuffled", "none": "test_none"}
"""Sections of tests with other pictures, by what `MultimodalDataModule` calls ``pictures``."""
TEST_TITLES = {
    "test": "test",
    "test_shuffled": "test with shuffled pictures",
    "test_none": "test without pictures",
}
"""Names of the sections of tests in words."""


def picture_suffix(folder: Path, pictures: str) -> str:
    """Return the ending of a test's names of section and file, empty for the main test.

    Args:
        folder: Run folder.
        pictures: What `MultimodalDataModule` calls ``pictures``.
    """
    if pictures in (RIGHT_PICTURES, _own_pictures(folder)):
        return ""
    return f"_{pictures}"


def predictions_file(folder: Path, suffix: str, scored: bool = True) -> Path:
    """Return the file of predictions.

    Args:
        folder: Run folder.
        suffix: Ending of the name: see `picture_suffix`.
        scored: Whether they are those of a test, and not of a predict.
    """
    path = folder / (PREDICTIONS if scored else UNSCORED)
    return path.with_stem(f"{path.stem}{suffix}")


def join_shuffled_tests(section: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Average tests of one checkpoint with differently shuffled pictures.

    Args:
        section: The section so far; empty if there is none. Tests of another checkpoint or other
            posts are dropped, and so is an earlier one with the same seed. Tests of a part of the
            split are kept and do not enter the means, unless all are such.
        outcome: Scores of the new test, its ``checkpoint`` and ``seed``.

    Returns:
        The means of all scores, the checkpoint, and ``runs``, each with its seed.

    >>> first = join_shuffled_tests({}, {"test/f1": 0.5, "checkpoint": "best.ckpt", "seed": 1})
    >>> second = {"test/f1": 0.75, "checkpoint": "best.ckpt", "seed": 2}
    >>> join_shuffled_tests(first, second)["test/f1"]
    0.625
    """
    runs = [dict(outcome)]
    for run in section.get("runs", []):
        is_same = run["checkpoint"] == outcome["checkpoint"] and belong_together(run, outcome)
        if is_same and run["seed"] != outcome["seed"]:
            runs.insert(-1, run)
    averaged = [run for run in runs if not is_partial(run)] or [dict(outcome)]
    means = dict(averaged[-1])
    for name in with_prefix(means, "test/"):
        means[name] = fmean(run[name] for run in averaged)
    return {**means, "runs": runs}


def _own_pictures(folder: Path) -> str | None:
    """Return the pictures that a run was trained with, or None if its configuration names none."""
    if not (folder / CONFIG).exists():
        return None
    pictures = (read_config(folder).get("data") or {}).get("pictures")
    return None if pictures is None else str(pictures)
