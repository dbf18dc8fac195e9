"""Use of the picture by a system: F1 with right, shuffled and no pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from mmie.metrics import approximate_randomization
from mmie.reports.comparison.groups import System
from mmie.reports.statistics import post_counts
from mmie.runs import PredictionRecord, RunError, read_prediction_file
from mmie.runs.picture_tests import PICTURE_TESTS, RIGHT_PICTURES, predictions_file


@dataclass(frozen=True, slots=True)
class PictureLoss:
    """What a system loses where its pictures are replaced.

    Attributes:
        seeds: Seeds of the runs that were tested with the right and with these pictures.
        right: Mean F1 of these runs with the right pictures, 0 to 1.
        replaced: Mean F1 of the same runs with these pictures.
        loss: ``right`` minus ``replaced``.
        p_value: p-value of the loss by approximate randomisation over the posts, for the trained
            runs; None if predictions are missing.
    """

    seeds: tuple[int, ...]
    right: float
    replaced: float
    loss: float
    p_value: float | None


def picture_losses(system: System, resamples: int) -> dict[str, PictureLoss]:
    """Compute what a system loses with ``shuffled`` pictures and with ``none``, where tested.

    Args:
        system: The system.
        resamples: Number of random swaps of each test.
    """
    losses = {}
    for pictures in PICTURE_TESTS:
        runs = []
        for run in system.runs:
            if run.pictures == RIGHT_PICTURES and pictures in run.other_pictures:
                runs.append(run)
        if runs:
            right = fmean(run.scores["f1"] for run in runs)
            replaced = fmean(run.other_pictures[pictures] for run in runs)
            seeds = tuple(run.seed for run in runs)
            p_value = _p_value(system, seeds, pictures, resamples)
            losses[pictures] = PictureLoss(seeds, right, replaced, right - replaced, p_value)
    return losses


def _p_value(system: System, seeds: Sequence[int], pictures: str, resamples: int) -> float | None:
    """Test the loss on the predictions of all runs that have both, None if none has."""
    right, replaced = [], []
    for run in system.runs:
        records = system.predictions.get(run.seed)
        if run.seed not in seeds or records is None:
            continue
        file = predictions_file(run.folder, f"_{pictures}")
        try:
            others = read_prediction_file(file)
        except (OSError, RunError):
            continue
        if _instances(others) == _instances(records):
            right.append(post_counts(records))
            replaced.append(post_counts(others))
    if not right:
        return None
    return approximate_randomization(
        torch.stack(right).sum(dim=0), torch.stack(replaced).sum(dim=0), resamples
    )


def _instances(records: Sequence[PredictionRecord]) -> list[tuple[object, ...]]:
    """Return what tells the instances of a test from those of another one."""
    return [(record.id, frozenset(record.gold), record.arguments) for record in records]
