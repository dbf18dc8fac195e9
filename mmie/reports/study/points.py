"""Runs of a study grouped into points, each with a description of what it varies."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from mmie.reports.rendering import TASK_NAMES
from mmie.runs import Run, RunError, read_run

StudyKind = Literal[
    "low-resource",
    "cross-task",
    "cross-domain",
    "ablations",
    "pretraining",
    "sweep-figure",
    "crops",
]


class StudySetting(NamedTuple):
    """Value of what a study of one configuration varies.

    Attributes:
        label: The value in words.
        value: The value as a number, if it is one.
    """

    label: str
    value: float | None


@dataclass(frozen=True, slots=True)
class StudyPoint:
    """Runs of a study that differ in their seeds alone.

    Attributes:
        runs: The runs.
        source: One of the runs that they started from or tested; None for runs on their own.
        tested: Corpus of the test, and its task.
        system: Name of the method, with its folder if the study has several configurations of it.
        setting: Value of what the study varies, in words.
        share: Share of the training instances, 0 to 1.
        value: Value of what the study varies, if it is a number other than the share.
    """

    runs: tuple[Run, ...]
    source: Run | None
    tested: str
    system: str
    setting: str
    share: float
    value: float | None = None


def build_points(
    kind: StudyKind,
    sources: Mapping[Path, Path | None],
    settings: Mapping[Path, StudySetting] | None = None,
) -> list[StudyPoint]:
    """Read the runs of a study and group them into points.

    Args:
        kind: Kind of the study.
        sources: Folder of each run, with that of the run that it started from or tested. Runs that
            differ in their seeds alone have the same parent folder.
        settings: Value of each run, in studies of one configuration.

    Returns:
        The points; those of one corpus, and in low resource of one system, stand together.

    Raises:
        RunError: A folder holds no tested run, or one that was tested on a part of the split.
    """
    runs = {folder: read_run(folder) for folder in sources}
    notes = [run.partial_note for run in runs.values() if run.partial_note]
    if notes:
        raise RunError("; ".join(notes))
    labels = corpus_labels(runs.values())
    folders_by_parent: dict[Path, list[Path]] = {}
    for folder in sources:
        folders_by_parent.setdefault(folder.parent, []).append(folder)
    points = []
    for folders in folders_by_parent.values():
        source_folder = sources[folders[0]]
        source = None if source_folder is None else runs[source_folder]
        point = _build_point(kind, [runs[folder] for folder in folders], source, labels)
        if settings is not None:
            label, value = settings[folders[0]]
            # crops of other detectors lie in another root of the same corpus
            tested = f"{point.runs[0].corpus}, {TASK_NAMES[point.runs[0].task]}"
            point = replace(point, tested=tested, setting=label, value=value)
        points.append(point)
    if kind == "low-resource":
        points = [_distinguish_system(point, points) for point in points]
    return _group_lines(kind, points)


def find_reference(
    kind: StudyKind, point: StudyPoint, points: Sequence[StudyPoint]
) -> StudyPoint | None:
    """Find the point that another is compared with, None for the reference itself.

    The reference is the largest share of the same system (low resource), or the first point on the
    same test corpus whose runs are on their own (cross-task, cross-domain), which is the
    configuration itself in studies of one configuration.
    """
    candidates = []
    for other in points:
        is_same_system = kind != "low-resource" or other.system == point.system
        if other.tested == point.tested and other.source is None and is_same_system:
            candidates.append(other)
    if kind == "low-resource":
        reference = max(candidates, key=lambda candidate: candidate.share)
    else:
        reference = candidates[0]
    return None if reference is point else reference


def corpus_labels(runs: Iterable[Run]) -> dict[Path, str]:
    """Name the corpus of each run by its class, and by its folder if several have that class.

    Returns:
        Labels by run folder.
    """
    runs = list(runs)
    roots_by_class: dict[str, set[Path]] = {}
    for run in runs:
        roots_by_class.setdefault(run.corpus, set()).add(run.root)
    labels = {}
    for run in runs:
        roots = roots_by_class[run.corpus]
        folder_names = {root.name for root in roots}
        if len(roots) == 1:
            labels[run.folder] = run.corpus
        elif len(folder_names) == len(roots):
            labels[run.folder] = f"{run.corpus} {run.root.name}"
        else:
            labels[run.folder] = f"{run.corpus} {run.root}"
    return labels


def _build_point(
    kind: StudyKind, runs: Sequence[Run], source: Run | None, labels: Mapping[Path, str]
) -> StudyPoint:
    """Describe the runs of a point.

    Args:
        kind: Kind of the study.
        runs: The runs.
        source: One of the runs that they started from or tested.
        labels: Names of corpora, by run folder.
    """
    run = runs[0]
    share = float(run.settings.get("data.train_fraction") or 1)
    if kind == "low-resource":
        setting = f"{100 * share:g} %"
    elif kind == "cross-domain":
        setting = f"trained on {labels[(source or run).folder]}"
    elif source is None:
        setting = "own weights"
    else:
        setting = f"weights from {labels[source.folder]}"
    tested = f"{labels[run.folder]}, {TASK_NAMES[run.task]}"
    return StudyPoint(tuple(runs), source, tested, run.method, setting, share)


def _distinguish_system(point: StudyPoint, points: Sequence[StudyPoint]) -> StudyPoint:
    """Add its folder to the name of a system of which the study has several configurations."""
    folders = set()
    for other in points:
        if (other.tested, other.system) == (point.tested, point.system):
            folders.add(_configuration_folder(other))
    if len(folders) == 1:
        return point
    folder = _configuration_folder(point).relative_to(os.path.commonpath(folders))
    return replace(point, system=f"{point.system} ({folder})")


def _configuration_folder(point: StudyPoint) -> Path:
    """Return the folder that holds the runs of a configuration with all shares and seeds."""
    return point.runs[0].folder.parents[1]


def _group_lines(kind: StudyKind, points: Iterable[StudyPoint]) -> list[StudyPoint]:
    """Put points together that one line or group of bars shows, in the order of their first one."""
    lines: dict[tuple[str, ...], list[StudyPoint]] = {}
    for point in points:
        key = (point.tested, point.system) if kind == "low-resource" else (point.tested,)
        lines.setdefault(key, []).append(point)
    return list(chain.from_iterable(lines.values()))
