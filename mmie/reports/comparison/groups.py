"""Runs sorted into comparisons: one for each corpus and task, and in it one system for each method and its settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmie.runs import PredictionRecord, Run, read_predictions
from mmie.types import Task


@dataclass(frozen=True, slots=True)
class System:
    """Runs that differ in their seeds alone.

    Attributes:
        name: Name of the method, and those settings in which systems of the same method differ.
        runs: Its runs, by seed.
        answers: What each of the runs answered, by seed; runs without usable predictions are left out.
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
        systems: The systems, in order of their names.
        notes: What could not be used, and why.
    """

    corpus: str
    root: Path
    task: Task
    systems: tuple[System, ...]
    notes: tuple[str, ...] = ()


def comparison_groups(runs: Sequence[Run]) -> list[ComparisonGroup]:
    """The runs by corpus and task."""
    groups: dict[tuple[str, str, Path], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.corpus, run.task, run.root.expanduser().resolve()), []).append(run)
    return [_comparison_group(groups[key]) for key in sorted(groups)]


def system_names(runs: Sequence[Run]) -> list[str]:
    """For each run the name of its system: its method, and the settings in which that method's runs differ."""
    names = []
    for run in runs:
        peers = [_identity(other) for other in runs if other.method == run.method]
        own = _identity(run)
        differing = [
            key for key in sorted({key for peer in peers for key in peer}) if _differs(key, peers)
        ]
        shown = [_shown(key, own.get(key)) for key in differing]
        names.append(f"{run.method} ({', '.join(shown)})" if shown else run.method)
    return names


def pictures_of_posts(systems: Sequence[System]) -> dict[str, str | None]:
    """The right picture of each post: from a run that was given the right ones, where there is one."""
    with_right = [
        system.predictions[run.seed]
        for system in systems
        for run in system.runs
        if run.pictures == "right" and run.seed in system.predictions
    ]
    if not with_right:
        return dict.fromkeys(
            prediction.id
            for system in systems[:1]
            for run in system.predictions.values()
            for prediction in run
        )
    return {prediction.id: prediction.image for prediction in with_right[0]}


def _identity(run: Run) -> dict[str, Any]:
    """What makes a run's system."""
    return {**run.settings, "trained_on": run.trained_on or run.corpus}


def _differs(key: str, peers: Sequence[dict[str, Any]]) -> bool:
    return any(peer.get(key) != peers[0].get(key) for peer in peers)


def _shown(key: str, value: object) -> str:
    """A setting as one reads it."""
    return f"trained on {value}" if key == "trained_on" else f"{key.removeprefix('model.')}={value}"


def _comparison_group(runs: Sequence[Run]) -> ComparisonGroup:
    """The systems of runs on one corpus and task."""
    members: dict[str, dict[int, Run]] = {}
    notes = []
    for name, run in zip(system_names(runs), runs, strict=True):
        seeds = members.setdefault(name, {})
        if run.seed in seeds:
            notes.append(
                f"{run.folder} repeats seed {run.seed} of {seeds[run.seed].folder} and is left out."
            )
        seeds.setdefault(run.seed, run)
    predictions, unusable = _usable_predictions(
        [run for seeds in members.values() for run in seeds.values()]
    )
    systems = [
        System(
            name,
            tuple(seeds[seed] for seed in sorted(seeds)),
            {
                seed: predictions[seeds[seed].folder]
                for seed in sorted(seeds)
                if seeds[seed].folder in predictions
            },
        )
        for name, seeds in sorted(members.items())
    ]
    first = runs[0]
    return ComparisonGroup(
        first.corpus, first.root, first.task, tuple(systems), (*notes, *unusable)
    )


def _usable_predictions(
    runs: Sequence[Run],
) -> tuple[dict[Path, list[PredictionRecord]], list[str]]:
    """Answers by run folder, and why others cannot be used: they must be to the same questions as the first run's."""
    usable: dict[Path, list[PredictionRecord]] = {}
    notes = []
    questions = None
    for run in runs:
        predictions = read_predictions(run)
        asked = [
            (prediction.id, prediction.words, frozenset(prediction.gold), prediction.arguments)
            for prediction in predictions
        ]
        questions = questions or asked
        if predictions and asked == questions:
            usable[run.folder] = predictions
        elif predictions:
            notes.append(
                f"{run.folder} was tested on other posts or gold: only its scores are shown."
            )
        else:
            notes.append(
                f"{run.folder} has no predictions.jsonl: only its scores are shown; test it again."
            )
    return usable, notes
