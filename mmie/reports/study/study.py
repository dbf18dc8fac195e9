"""Results of a study as plain data, with the results that papers report.

A study is one of the papers' experiments over many runs: low resource, cross-task, cross-domain, or
one that varies a configuration (ablations, pretraining, a number, crops).
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmie.reports.methods import listed_methods, published_result
from mmie.reports.rendering import TASK_NAMES
from mmie.reports.significance import (
    Difference,
    SystemCounts,
    adjust_p_values,
    compare_systems,
)
from mmie.reports.statistics import MeanAndDeviation, scores_of_runs
from mmie.reports.study.points import (
    StudyKind,
    StudyPoint,
    StudySetting,
    build_points,
    find_reference,
)
from mmie.runs import PredictionMismatch, read_predictions


@dataclass(frozen=True, slots=True)
class StudyRow:
    """Scores of one point of a study, whose runs differ in their seeds alone.

    Attributes:
        tested: Corpus of the test, and its task.
        system: Name of the method, with its folder if the study has several configurations of it.
        setting: Value of what the study varies, in words.
        share: Share of the training instances, 0 to 1.
        folders: Run folders.
        seeds: Seeds of the runs.
        scores: Precision, recall and F1 over the seeds, 0 to 1.
        published: F1 that the method's paper reports for this setting, in percent; None if there is
            none.
        against: F1 of this row minus that of its reference: the largest share, own weights,
            training on the corpus of the test, or the configuration itself. None for the reference
            itself, or without predictions.
        value: Value of what the study varies, if it is a number other than the share.
        published_difference: Published F1 of this row minus that of its reference, in points. None
            if one of them is not published.
    """

    tested: str
    system: str
    setting: str
    share: float
    folders: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: dict[str, MeanAndDeviation]
    published: float | None
    against: Difference | None
    value: float | None = None
    published_difference: float | None = None


@dataclass(frozen=True, slots=True)
class ReportedResult:
    """Result of a paper for a setting of a study.

    Attributes:
        method: Class name of the paper's method.
        tested: Corpus of the test, and its task.
        setting: Value of what the study varies, in the words of `StudyRow.setting`.
        f1: F1 in percent.
    """

    method: str
    tested: str
    setting: str
    f1: float


@dataclass(frozen=True, slots=True)
class Study:
    """Results of a study.

    Attributes:
        kind: Kind of the study.
        rows: Scores of its points. Those of one corpus, and in low resource of one system, stand
            together: the reference first in cross-task and cross-domain, the smallest share first
            in low resource.
        reported: Results of the papers of all known methods in cross-task and cross-domain on the
            same corpora.
        notes: Notes of the corpora, and what does not belong together in a run folder.
    """

    kind: StudyKind
    rows: tuple[StudyRow, ...]
    reported: tuple[ReportedResult, ...]
    notes: tuple[str, ...] = ()


def summarise_study(
    kind: StudyKind,
    sources: Mapping[Path, Path | None],
    resamples: int = 10_000,
    settings: Mapping[Path, StudySetting] | None = None,
) -> Study:
    """Read the runs of a study and compare their scores.

    Args:
        kind: Kind of the study.
        sources: Folder of each run, with that of the run that it started from or tested. Runs that
            differ in their seeds alone have the same parent folder.
        resamples: Number of bootstrap samples for each difference.
        settings: Value of each run, in studies that vary one configuration.

    Raises:
        RunError: A folder holds no tested run.
    """
    points = build_points(kind, sources, settings)
    references = [find_reference(kind, point, points) for point in points]
    differences: dict[int, Difference] = {}
    for index, (point, reference) in enumerate(zip(points, references, strict=True)):
        if reference is not None:
            difference = _compare_points(point, reference, resamples)
            if difference is not None:
                differences[index] = difference
    adjusted = adjust_p_values(list(differences.values()))
    differences = dict(zip(differences, adjusted, strict=True))
    rows = []
    for index, (point, reference) in enumerate(zip(points, references, strict=True)):
        rows.append(_build_row(point, reference, differences.get(index)))
    if kind == "sweep-figure":
        rows.sort(key=lambda row: row.value or 0)
    return Study(kind, tuple(rows), _reported_results(kind, points), _collect_notes(points))


def _collect_notes(points: Sequence[StudyPoint]) -> tuple[str, ...]:
    """Collect the notes of corpora and run folders, each once."""
    notes: dict[str, None] = {}
    for point in points:
        for run in point.runs:
            notes.update(dict.fromkeys(filter(None, (run.corpus_note, *run.notes))))
    return tuple(notes)


def _build_row(
    point: StudyPoint, reference: StudyPoint | None, difference: Difference | None
) -> StudyRow:
    """Collect the scores of a point."""
    published = _published_f1(point)
    reference_f1 = None if reference is None else _published_f1(reference)
    published_difference = None
    if published is not None and reference_f1 is not None:
        published_difference = published - reference_f1
    folders = [str(run.folder) for run in point.runs]
    seeds = [run.seed for run in point.runs]
    return StudyRow(
        tested=point.tested,
        system=point.system,
        setting=point.setting,
        share=point.share,
        folders=tuple(folders),
        seeds=tuple(seeds),
        scores=scores_of_runs(point.runs),
        published=published,
        against=difference,
        value=point.value,
        published_difference=published_difference,
    )


def _published_f1(point: StudyPoint) -> float | None:
    """Return the F1 that the method's paper reports for the runs of a point."""
    row, _ = published_result(point.runs[0])
    return None if row is None else row.scores.f1


def _compare_points(point: StudyPoint, reference: StudyPoint, resamples: int) -> Difference | None:
    """Compare two points, unless their runs lack predictions or have them for other instances.

    Predictions that are not those that the test wrote are named in a warning.
    """
    try:
        first = {run.seed: read_predictions(run) for run in point.runs}
        second = {run.seed: read_predictions(run) for run in reference.runs}
    except PredictionMismatch as error:
        warnings.warn(f"{error}: '{point.setting}' is not compared", stacklevel=2)
        return None
    runs = [*first.values(), *second.values()]
    tested = set()
    for records in runs:
        tested.add(tuple((record.id, record.gold, record.arguments) for record in records))
    if len(tested) != 1 or not all(runs):
        return None
    return compare_systems(
        SystemCounts.from_predictions(point.setting, first),
        SystemCounts.from_predictions(reference.setting, second),
        resamples,
    )


def _reported_results(kind: StudyKind, points: Sequence[StudyPoint]) -> tuple[ReportedResult, ...]:
    """Collect what all methods' papers report for a study of this kind on these corpora."""
    if kind not in ("cross-task", "cross-domain"):
        return ()
    corpora: set[str] = set()
    for point in points:
        corpora.update(run.corpus for run in point.runs)
    results = []
    for method in listed_methods():
        for result in method.paper.published if method.paper else ():
            source = result.started_from if kind == "cross-task" else result.trained_on
            if result.corpus in corpora and source in corpora:
                tested = f"{result.corpus}, {TASK_NAMES[result.task]}"
                f1 = result.scores.f1
                results.append(ReportedResult(method.name, tested, result.setting, f1))
    return tuple(results)
