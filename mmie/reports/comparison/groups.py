"""Runs sorted into groups by corpus and task, and into systems by method and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from mmie.runs import PredictionRecord, Run, read_predictions
from mmie.runs.picture_tests import RIGHT_PICTURES
from mmie.types import Task


@dataclass(frozen=True, slots=True)
class System:
    """Runs that differ in their seeds alone.

    Attributes:
        name: Name of the method, and the settings in which systems of this method differ.
        runs: Runs in the order of their seeds.
        predictions: Predictions of the runs by seed, without runs whose predictions are unusable.
    """

    name: str
    runs: tuple[Run, ...]
    predictions: dict[int, list[PredictionRecord]]


@dataclass(frozen=True, slots=True)
class ComparisonGroup:
    """Systems that were tested on the same corpus and task.

    Attributes:
        corpus: Class name of the corpus.
        root: Folder of the corpus.
        task: ``ner`` or ``re``.
        systems: Systems in the order of their names.
        notes: Reasons why runs or predictions are left out.
        corpus_note: Note of the corpus, empty if it has none.
    """

    corpus: str
    root: Path
    task: Task
    systems: tuple[System, ...]
    notes: tuple[str, ...] = ()
    corpus_note: str = ""


def comparison_groups(runs: Sequence[Run]) -> list[ComparisonGroup]:
    """Sort runs into groups by corpus, task and folder of the corpus."""
    members: dict[tuple[str, str, Path], list[Run]] = {}
    for run in runs:
        key = (run.corpus, run.task, run.root.expanduser().resolve())
        members.setdefault(key, []).append(run)
    return [_build_group(members[key]) for key in sorted(members)]


def system_names(runs: Sequence[Run]) -> list[str]:
    """Name the system of each run by its method and the settings that tell its runs apart."""
    settings_by_method: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        settings_by_method.setdefault(run.method, []).append(_system_settings(run))
    names = []
    for run in runs:
        settings = _system_settings(run)
        keys = _differing_keys(settings_by_method[run.method])
        labels = []
        for key in keys:
            label = "trained on " if key == "trained_on" else f"{key.removeprefix('model.')}="
            labels.append(f"{label}{settings.get(key)}")
        names.append(f"{run.method} ({', '.join(labels)})" if labels else run.method)
    return names


def pictures_of_posts(systems: Sequence[System]) -> dict[str, str | None]:
    """Return the picture of each post, from a run with the right pictures.

    Args:
        systems: Systems with predictions for the same posts, at least one.

    Returns:
        Files by the id of the post; None for every post if no run had the right pictures.
    """
    for system in systems:
        for run in system.runs:
            if run.pictures == RIGHT_PICTURES and run.seed in system.predictions:
                records = system.predictions[run.seed]
                return {record.id: record.image for record in records}
    records = next(iter(systems[0].predictions.values()))
    return {record.id: None for record in records}


def _build_group(runs: Sequence[Run]) -> ComparisonGroup:
    """Sort the runs on one corpus and task into systems."""
    runs_by_system: dict[str, dict[int, Run]] = {}
    notes = []
    for name, run in zip(system_names(runs), runs, strict=True):
        runs_by_seed = runs_by_system.setdefault(name, {})
        first = runs_by_seed.setdefault(run.seed, run)
        if first is not run:
            notes.append(f"{run.folder} repeats seed {run.seed} of {first.folder} and is left out.")
    included: list[Run] = []
    for runs_by_seed in runs_by_system.values():
        included += runs_by_seed.values()
    predictions, prediction_notes = _read_comparable_predictions(included)
    systems = []
    for name in sorted(runs_by_system):
        of_system = sorted(runs_by_system[name].values(), key=attrgetter("seed"))
        usable = {
            run.seed: predictions[run.folder] for run in of_system if run.folder in predictions
        }
        systems.append(System(name, tuple(of_system), usable))
    return ComparisonGroup(
        corpus=runs[0].corpus,
        root=runs[0].root,
        task=runs[0].task,
        systems=tuple(systems),
        notes=(*notes, *prediction_notes),
        corpus_note=max(run.corpus_note for run in runs),
    )


def _read_comparable_predictions(
    runs: Sequence[Run],
) -> tuple[dict[Path, list[PredictionRecord]], list[str]]:
    """Read the predictions of runs that were tested on the same instances as the first of them.

    Returns:
        Predictions by run folder, and the reasons why those of other runs are left out.
    """
    usable: dict[Path, list[PredictionRecord]] = {}
    notes = []
    first_instances = None
    for run in runs:
        predictions = read_predictions(run)
        if not predictions:
            notes.append(
                f"{run.folder} has no predictions.jsonl: only its scores are shown; test it again."
            )
            continue
        instances = [
            (record.id, record.words, frozenset(record.gold), record.arguments)
            for record in predictions
        ]
        if first_instances is None:
            first_instances = instances
        if instances == first_instances:
            usable[run.folder] = predictions
        else:
            notes.append(
                f"{run.folder} was tested on other posts or gold: only its scores are shown."
            )
    return usable, notes


def _system_settings(run: Run) -> dict[str, Any]:
    """Return the settings that tell systems of one method apart."""
    return {**run.settings, "trained_on": run.trained_on or run.corpus}


def _differing_keys(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sorted names of settings that have several values."""
    differing = []
    for key in sorted(set().union(*settings)):
        values = [of_run.get(key) for of_run in settings]
        if any(value != values[0] for value in values):
            differing.append(key)
    return differing
