"""Scores and cost of one system in a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from mmie.methods.papers import Published
from mmie.reports.comparison.groups import System
from mmie.reports.methods import published_result
from mmie.reports.statistics import (
    SCORE_NAMES,
    MeanAndDeviation,
    mean_and_deviation,
    scores_by_type,
    scores_of_runs,
)
from mmie.runs import Fit, Run
from mmie.runs.picture_tests import PICTURE_TESTS, RIGHT_PICTURES

_ALWAYS_KNOWN = ("parameters", "trained", "minutes_to_best", "peak_memory_gib")
"""Costs that every fit records."""


@dataclass(frozen=True, slots=True)
class MethodRow:
    """Scores and cost of one system.

    Attributes:
        name: Name of the system.
        folders: Its run folders.
        seeds: Seeds of its runs.
        scores: Precision, recall, F1 (and accuracy) over the seeds, 0 to 1.
        by_type: Precision, recall and F1 of each type over the seeds.
        published: Result of the method's paper on this corpus, in percent; None if there is none.
        remark: Remark on the published result.
        pictures: F1 over the seeds with right, shuffled and no pictures, where tested.
        curves: Validation F1 by epoch, for each seed.
        cost: Cost of training, averaged over the seeds; None if unknown.
        cost_seeds: Number of seeds that each cost is known for.
    """

    name: str
    folders: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: dict[str, MeanAndDeviation]
    by_type: dict[str, dict[str, MeanAndDeviation]]
    published: Published | None
    remark: str
    pictures: dict[str, MeanAndDeviation]
    curves: dict[int, tuple[float | None, ...]]
    cost: dict[str, float | None] | None
    cost_seeds: dict[str, int]

    @property
    def num_epochs(self) -> int:
        """Number of epochs of the longest curve."""
        return max(map(len, self.curves.values()), default=0)


def build_method_row(system: System, types: Sequence[str]) -> MethodRow:
    """Collect the scores and the cost of a system.

    Args:
        system: The system.
        types: Entity types or relation labels to score.
    """
    names = list(SCORE_NAMES)
    if "accuracy" in system.runs[0].scores:
        names.append("accuracy")
    published, remark = published_result(system.runs[0])
    folders, seeds, fits, curves = [], [], [], {}
    for run in system.runs:
        folders.append(str(run.folder))
        seeds.append(run.seed)
        if run.fit is not None:
            fits.append(run.fit)
            curves[run.seed] = run.fit.curve
    return MethodRow(
        name=system.name,
        folders=tuple(folders),
        seeds=tuple(seeds),
        scores=scores_of_runs(system.runs, names),
        by_type=_scores_by_type(system, types),
        published=published,
        remark=remark,
        pictures=scores_by_pictures(system.runs),
        curves=curves,
        cost=_mean_cost(fits),
        cost_seeds=_count_costs(fits),
    )


def _scores_by_type(system: System, types: Sequence[str]) -> dict[str, dict[str, MeanAndDeviation]]:
    """Compute precision, recall and F1 of each type over the seeds, if there are predictions."""
    runs = [scores_by_type(predictions, types) for predictions in system.predictions.values()]
    if not runs:
        return {}
    result: dict[str, dict[str, MeanAndDeviation]] = {}
    for entity_type in types:
        result[entity_type] = {}
        for name in SCORE_NAMES:
            values = [getattr(run[entity_type], name) for run in runs]
            result[entity_type][name] = mean_and_deviation(values)
    return result


def scores_by_pictures(runs: Sequence[Run]) -> dict[str, MeanAndDeviation]:
    """Compute F1 with right, shuffled and no pictures, each over the seeds that were tested so."""
    tests = [{run.pictures: run.scores["f1"], **run.other_pictures} for run in runs]
    result = {}
    for pictures in (RIGHT_PICTURES, *PICTURE_TESTS):
        values = [test[pictures] for test in tests if pictures in test]
        if values:
            result[pictures] = mean_and_deviation(values)
    return result


def _mean_cost(fits: Sequence[Fit]) -> dict[str, float | None] | None:
    """Average speed and time of training over the seeds, and take their largest memory."""
    if not fits:
        return None
    minutes = [fit.minutes_to_best for fit in fits]
    memory = [fit.peak_memory_gib for fit in fits]
    speeds = [fit.samples_per_second for fit in fits if fit.samples_per_second is not None]
    gpu_memory = [fit.peak_gpu_memory_gib for fit in fits if fit.peak_gpu_memory_gib is not None]
    return {
        "parameters": fits[0].parameters,
        "trained": fits[0].trained,
        "samples_per_second": fmean(speeds) if speeds else None,
        "minutes_to_best": fmean(minutes),
        "peak_memory_gib": max(memory),
        "peak_gpu_memory_gib": max(gpu_memory, default=None),
    }


def _count_costs(fits: Sequence[Fit]) -> dict[str, int]:
    """Count the fits that each of their costs is known for."""
    counts = dict.fromkeys(_ALWAYS_KNOWN, len(fits))
    for name in ("samples_per_second", "peak_gpu_memory_gib"):
        counts[name] = sum(getattr(fit, name) is not None for fit in fits)
    return counts
