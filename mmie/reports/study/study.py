"""What the runs of a study say, as plain data: low resource, cross-task and cross-domain, beside what papers report."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mmie.methods.papers import Published
from mmie.reports.comparison.page import TASK_NAMES
from mmie.reports.comparison.summary import SCORES, published_score
from mmie.reports.methods import MethodError, find_listed, listed_methods, own_paper
from mmie.reports.statistics import Difference, Spread, difference, holm, post_counts, spread
from mmie.runs import Run, read_predictions, read_run

Kind = Literal["low-resource", "cross-task", "cross-domain"]


@dataclass(frozen=True, slots=True)
class Row:
    """One point of a study: runs that differ in their seeds alone.

    Attributes:
        tested: Corpus of the test, and its task.
        system: Name of the method, and of its folder where the study holds several of its configurations.
        setting: What the study varies, in words.
        share: Share of the training instances, 0 to 1.
        folders: Run folders.
        seeds: Their seeds.
        scores: Precision, recall and F1 over the seeds, 0 to 1.
        published: F1 that the method's paper reports for this, in percent; None if it has none.
        against: F1 of this row minus that of the row that it is held against: the whole training split, own weights,
            or training on the corpus of the test; None for that row itself, or without predictions.
    """

    tested: str
    system: str
    setting: str
    share: float
    folders: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: dict[str, Spread]
    published: float | None
    against: Difference | None


@dataclass(frozen=True, slots=True)
class Reported:
    """What a paper reports for one of the settings of a study.

    Attributes:
        method: Class name of its method.
        tested: Corpus of the test, and its task.
        setting: As `Row.setting` says it.
        f1: In percent.
    """

    method: str
    tested: str
    setting: str
    f1: float


@dataclass(frozen=True, slots=True)
class Study:
    """All that is said of a study.

    Attributes:
        kind: Which one it is.
        rows: Its points; those of one corpus and one system together, the one that others are held against first in
            cross-task and cross-domain, the smallest share first in low resource.
        reported: What papers report for cross-task and cross-domain on the same corpora, of all methods known here.
    """

    kind: Kind
    rows: tuple[Row, ...]
    reported: tuple[Reported, ...]


@dataclass(frozen=True, slots=True)
class _Point:
    """Runs of one row, and one of the run that they started from or tested."""

    runs: tuple[Run, ...]
    source: Run | None
    tested: str
    system: str
    setting: str
    share: float


def measure(kind: Kind, sources: Mapping[Path, Path | None], resamples: int = 10_000) -> Study:
    """All that is said of a study.

    Args:
        kind: Which one it is.
        sources: Its run folders, each with the folder of the run that it started from or tested. Those that differ in
            their seeds alone have the same parent.
        resamples: How often posts are drawn for each difference.

    Raises:
        RunError: A folder holds no tested run.
    """
    runs = {folder: read_run(folder) for folder in sources}
    groups: dict[Path, list[Path]] = {}
    for folder in sources:
        groups.setdefault(folder.parent, []).append(folder)
    labels = corpus_labels(list(runs.values()))
    points = []
    for folders in groups.values():
        source = sources[folders[0]]
        origin = None if source is None else runs[source]
        points.append(_point(kind, [runs[folder] for folder in folders], origin, labels))
    points = _named(points) if kind == "low-resource" else points
    lines = [_line(kind, point) for point in points]
    points.sort(key=lambda point: lines.index(_line(kind, point)))
    rows = [_row(kind, point, _reference(kind, point, points), resamples) for point in points]
    return Study(kind, _adjusted(rows), _reported(kind, points))


def corpus_labels(runs: Sequence[Run]) -> dict[Path, str]:
    """What the corpus of each run is called: its class, and its folder where several corpora share that."""
    roots: dict[str, set[Path]] = {}
    for run in runs:
        roots.setdefault(run.corpus, set()).add(run.root)
    return {run.folder: _corpus_label(run, roots[run.corpus]) for run in runs}


def _corpus_label(run: Run, roots: set[Path]) -> str:
    """What the run's corpus is called among those of its class."""
    if len(roots) == 1:
        return run.corpus
    is_unique = len({root.name for root in roots}) == len(roots)
    return f"{run.corpus} {run.root.name if is_unique else run.root}"


def _point(
    kind: Kind, runs: Sequence[Run], source: Run | None, labels: Mapping[Path, str]
) -> _Point:
    """Runs of one row, and what they are called."""
    run = runs[0]
    share = float(run.settings.get("data.train_fraction") or 1)
    if kind == "low-resource":
        setting = f"{100 * share:g} %"
    elif kind == "cross-task":
        setting = "own weights" if source is None else f"weights from {labels[source.folder]}"
    else:
        setting = f"trained on {labels[(source or run).folder]}"
    return _Point(
        tuple(runs),
        source,
        f"{labels[run.folder]}, {TASK_NAMES[run.task]}",
        run.method,
        setting,
        share,
    )


def _named(points: Sequence[_Point]) -> list[_Point]:
    """The points of low resource; several configurations of one method are told apart by their folders."""
    named = []
    for point in points:
        peers = {
            _lineage(other)
            for other in points
            if (other.tested, other.system) == (point.tested, point.system)
        }
        told = (
            f" ({_lineage(point).relative_to(os.path.commonpath(peers))})" if len(peers) > 1 else ""
        )
        named.append(replace(point, system=f"{point.system}{told}"))
    return named


def _lineage(point: _Point) -> Path:
    """The folder that runs with all shares lie in."""
    return point.runs[0].folder.parents[1]


def _line(kind: Kind, point: _Point) -> tuple[str, ...]:
    """What the rows that stand together share."""
    return (point.tested, point.system) if kind == "low-resource" else (point.tested,)


def _reference(kind: Kind, point: _Point, points: Sequence[_Point]) -> _Point | None:
    """The point that another is held against; None for itself."""
    peers = [other for other in points if other.tested == point.tested and other.source is None]
    if kind == "low-resource":
        peers = sorted(
            (other for other in peers if other.system == point.system),
            key=lambda other: -other.share,
        )
    return None if peers[0] is point else peers[0]


def _row(kind: Kind, point: _Point, reference: _Point | None, resamples: int) -> Row:
    """The row of a point."""
    published = _published(kind, point)
    return Row(
        tested=point.tested,
        system=point.system,
        setting=point.setting,
        share=point.share,
        folders=tuple(str(run.folder) for run in point.runs),
        seeds=tuple(run.seed for run in point.runs),
        scores={name: spread([run.scores[name] for run in point.runs]) for name in SCORES},
        published=None if published is None else published.scores.f1,
        against=None if reference is None else _difference(point, reference, resamples),
    )


def _adjusted(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with p-values adjusted for the number of differences."""
    found = [row.against for row in rows if row.against is not None]
    values = iter(holm([against.p_randomization for against in found]))
    return tuple(
        row
        if row.against is None
        else replace(row, against=replace(row.against, p_holm=next(values)))
        for row in rows
    )


def _difference(point: _Point, reference: _Point, resamples: int) -> Difference | None:
    """How far two points are apart; None unless all runs left their answers to the same posts."""
    predictions = {run.folder: read_predictions(run) for run in (*point.runs, *reference.runs)}
    asked = {
        tuple((prediction.id, prediction.gold, prediction.arguments) for prediction in given)
        for given in predictions.values()
    }
    if len(asked) != 1 or not all(predictions.values()):
        return None
    sides = [
        {run.seed: post_counts(predictions[run.folder]) for run in side.runs}
        for side in (point, reference)
    ]
    return difference((point.setting, sides[0]), (reference.setting, sides[1]), resamples)


def _published(kind: Kind, point: _Point) -> Published | None:
    """What the method's own paper reports for a point."""
    run, source = point.runs[0], point.source
    if point.share < 1:
        return None
    if source is None or kind != "cross-task":
        return published_score(run)[0]
    try:
        paper = own_paper(find_listed(run.class_path))
    except MethodError:
        return None
    rows = () if paper is None else paper.published
    return next(
        (row for row in rows if (row.corpus, row.started_from) == (run.corpus, source.corpus)), None
    )


def _reported(kind: Kind, points: Sequence[_Point]) -> tuple[Reported, ...]:
    """What the papers of all methods report for the corpora of a study."""
    corpora = {run.corpus for point in points for run in point.runs}
    found = []
    for method in listed_methods():
        paper = own_paper(method)
        for row in () if paper is None else paper.published:
            other = {
                "cross-task": row.started_from,
                "cross-domain": row.trained_on,
                "low-resource": None,
            }[kind]
            if row.corpus in corpora and other in corpora:
                label = f"{row.corpus}, {TASK_NAMES[row.task]}"
                found.append(Reported(method.__name__, label, row.setting, row.scores.f1))
    return tuple(found)
