"""Runs sorted into groups by corpus and task, and into systems by method and settings."""

import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from mmie.data.parsing import expand_user
from mmie.reports.corpora import named_pictures
from mmie.runs import PredictionMismatch, PredictionRecord, Run, RunError, read_predictions
from mmie.runs.picture_tests import RIGHT_PICTURES
from mmie.types import MmieError, Task

LEFT_OUT = ""
"""Picture of a post whose file is not one that the corpus names, or whose corpus is not here."""
_FACTS = ("training corpus", "test split", "encoders", "checkpoint")
"""What is recorded of a run beside its settings, and tells systems apart."""


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
    """Sort runs into groups by corpus, task and folder of the corpus.

    Runs that were tested on a part of the split are left out, with a note.

    Raises:
        RunError: Of a corpus and task, no run was tested on the whole split.
    """
    members: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        key = (run.corpus, run.task, os.path.realpath(expand_user(run.root)))
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
        keys = _distinguishing_keys(settings_by_method[run.method])
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
        Files by the id of the post, or `LEFT_OUT`. None for a post without one, and for every post
        if no run had the right pictures.
    """
    for system in systems:
        for run in system.runs:
            if run.pictures == RIGHT_PICTURES and run.seed in system.predictions:
                records = system.predictions[run.seed]
                return {record.id: record.image for record in records}
    records = next(iter(systems[0].predictions.values()))
    return {record.id: None for record in records}


def _build_group(runs: Sequence[Run]) -> ComparisonGroup:
    """Sort the runs on one corpus and task into systems.

    Raises:
        RunError: No run was tested on the whole split.
    """
    runs_by_system: dict[str, dict[int, Run]] = {}
    notes = [run.partial_note for run in runs if run.partial_note]
    if len(notes) == len(runs):
        raise RunError("; ".join(notes))
    runs = [run for run in runs if not run.partial_note]
    for run in runs:
        notes += run.notes
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
    """Read the predictions of runs that were tested on the same instances as most of them.

    Returns:
        Predictions by run folder, and the reasons why those of other runs are left out.
    """
    predictions: dict[Path, list[PredictionRecord]] = {}
    notes = []
    for run in runs:
        try:
            records = read_predictions(run)
        except PredictionMismatch as error:
            notes.append(f"{error}: only the scores of {run.folder} are shown; test it again.")
            continue
        if records:
            predictions[run.folder] = records
        else:
            notes.append(
                f"{run.folder} has no predictions.jsonl: only its scores are shown; test it again."
            )
    instances = {folder: _tested_instances(records) for folder, records in predictions.items()}
    numbers = Counter(instances.values())
    # Where runs differ, those of the most runs stay, and of equally many the most instances.
    compared = max(numbers, key=lambda tested: (numbers[tested], len(tested)), default=())
    usable = {}
    for folder, records in predictions.items():
        if instances[folder] == compared:
            usable[folder] = records
        else:
            notes.append(
                f"{folder} was tested on other posts or gold ({len(records)} instances, not the "
                f"{len(compared)} of the others): only its scores are shown."
            )
    for run in runs:
        if run.folder in usable:
            usable[run.folder], note = _keep_corpus_pictures(run, usable[run.folder])
            notes += [note] if note else []
    return usable, list(dict.fromkeys(notes))


def _tested_instances(records: Sequence[PredictionRecord]) -> tuple[Hashable, ...]:
    """Return what tells the instances of a test from those of another one."""
    instances = []
    for record in records:
        instances.append((record.id, record.words, frozenset(record.gold), record.arguments))
    return tuple(instances)


def _keep_corpus_pictures(
    run: Run, records: Sequence[PredictionRecord]
) -> tuple[list[PredictionRecord], str]:
    """Replace pictures that the run's corpus does not name by `LEFT_OUT`.

    Returns:
        The records, and the reason why pictures are left out, empty if none is.
    """
    if all(record.image is None for record in records):
        return list(records), ""
    pictures: dict[str, str] = {}
    reason = ""
    try:
        pictures = named_pictures(run.corpus_config)
    except MmieError as error:
        reason = f"Pictures of {run.root} are left out, the corpus cannot be read here: {error}"
    kept = []
    num_left_out = 0
    for record in records:
        image = record.image
        if image is not None:
            image = pictures.get(os.path.abspath(image), LEFT_OUT)
            num_left_out += image == LEFT_OUT
        kept.append(replace(record, image=image))
    if num_left_out and not reason:
        reason = (
            f"{num_left_out} pictures of {run.folder} are left out: the corpus in {run.root} does "
            "not name them."
        )
    return kept, reason


def _system_settings(run: Run) -> dict[str, Any]:
    """Return the settings and facts that tell systems of one method apart."""
    facts = {
        "training corpus": run.training_digest,
        "test split": run.split_digest and run.split_digest[:8],
        "encoders": run.encoder_digest,
        "checkpoint": run.checkpoint or None,
    }
    return {**run.settings, "trained_on": run.trained_on or run.corpus, **facts}


def _distinguishing_keys(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of settings that have several values, sorted, and then those of facts.

    A fact is left out where the names before it tell the same runs apart.
    """
    names = sorted(set().union(*settings) - set(_FACTS))
    keys = []
    for name in names:
        if len({repr(of_run.get(name)) for of_run in settings}) > 1:
            keys.append(name)
    for fact in _FACTS:
        systems = {repr([of_run.get(key) for key in keys]) for of_run in settings}
        finer = {repr([of_run.get(key) for key in [*keys, fact]]) for of_run in settings}
        if len(finer) > len(systems):
            keys.append(fact)
    return keys
