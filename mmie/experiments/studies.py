"""The papers' studies as sweeps: with little training data, from the other task's weights, on the other corpus.

Runs that differ in their seeds alone share a parent folder. A run that starts from another one, or tests it, names that
one first in ``after``.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from mmie.experiments.sweep import Job, SweepError, plan, split_values
from mmie.runs.folder import BEST

FRACTIONS = "0.05,0.1,0.2,0.5,1"
"""The shares of the papers' figures, and the whole."""
_INIT_FROM = "model.init_args.init_from"
_CORPUS = (
    "data.corpus",
    "data.corpus.class_path",
    "data.corpus.root",
    "data.corpus.init_args.root",
)


def parse_fractions(text: str) -> list[str]:
    """Shares of the training instances, in order of their size.

    Raises:
        SweepError: One is no number above 0 and at most 1, or stands twice.

    >>> parse_fractions("0.5, 0.05,1.0")
    ['0.05', '0.5', '1']
    """
    try:
        shares = sorted(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        shares = []
    if not shares or not all(0 < share <= 1 for share in shares) or len(set(shares)) != len(shares):
        raise SweepError(
            f"fractions is '{text}': expected different shares above 0 and at most 1, such as 0.05,0.5,1"
        )
    return [f"{share:.12g}" for share in shares]


def plan_low_resource(
    configs: Sequence[str], fractions: str, settings: Sequence[str], seeds: str, out: Path
) -> list[Job]:
    """Every run of a sweep with each share of the training instances; the seed draws them.

    Args:
        configs: See `mmie.experiments.sweep.plan`.
        fractions: Shares, separated by commas.
        settings: See `mmie.experiments.sweep.plan`.
        seeds: See `mmie.experiments.sweep.plan`.
        out: Folder of the run folders.

    Raises:
        SweepError: See `mmie.experiments.sweep.plan` and `parse_fractions`; or a setting is the study's own.
    """
    _refuse_own(settings, ("data.train_fraction",), "--fractions")
    runs = plan(configs, settings, seeds, out)
    return [_with_share(run, share) for share in parse_fractions(fractions) for run in runs]


def plan_cross_task(
    first: str, second: str, settings: Sequence[str], seeds: str, out: Path
) -> list[Job]:
    """Both configurations from their own weights, then each from the other's best ones of the same seed.

    Args:
        first: Configuration of one task.
        second: Configuration of the other.
        settings: ``key=value`` for both; no key takes several.
        seeds: See `mmie.experiments.sweep.plan`.
        out: Folder of the run folders.

    Raises:
        SweepError: See `mmie.experiments.sweep.plan`; both have the same task, or a setting is the study's own.
    """
    _refuse_own(settings, (_INIT_FROM, "model.init_from", "data.task"), "the configurations")
    pairs = _pairs(first, second, settings, seeds, out)
    tasks = [_data_settings(job, "task")[-1:] for job in pairs[0]]
    if tasks[0] == tasks[1]:
        raise SweepError(
            f"{first} and {second} have the same data.task: cross-task needs one of each task"
        )
    return _crossed(pairs, _started_from)


def plan_cross_domain(
    first: str, second: str, settings: Sequence[str], seeds: str, out: Path
) -> list[Job]:
    """Both configurations, each tested on its own corpus and on the other's.

    Args:
        first: Configuration of one corpus.
        second: Configuration of another, of the same task.
        settings: ``key=value`` for both; no key takes several.
        seeds: See `mmie.experiments.sweep.plan`.
        out: Folder of the run folders.

    Raises:
        SweepError: See `mmie.experiments.sweep.plan`; the tasks differ, the corpora do not, or a setting is the study's
            own.
    """
    _refuse_own(settings, _CORPUS, "the configurations")
    pairs = _pairs(first, second, settings, seeds, out)
    tasks = [_data_settings(job, "task")[-1:] for job in pairs[0]]
    if tasks[0] != tasks[1] and not any(setting.startswith("data.task=") for setting in settings):
        raise SweepError(f"{first} and {second} differ in data.task: cross-domain needs one task")
    corpora = [_data_settings(job, "corpus") for job in pairs[0]]
    if corpora[0] == corpora[1]:
        raise SweepError(
            f"{first} and {second} have the same data.corpus: cross-domain needs two corpora"
        )
    return _crossed(pairs, _tested_on)


def _with_share(job: Job, share: str) -> Job:
    """The run with a share of the training instances."""
    folder = job.folder.parent / f"share_{share}" / job.folder.name
    return replace(job, folder=folder, settings=(*job.settings, ("data.train_fraction", share)))


def _pairs(
    first: str, second: str, settings: Sequence[str], seeds: str, out: Path
) -> list[tuple[Job, Job]]:
    """Runs of the two configurations, for each seed."""
    several = [setting for setting in settings if len(split_values(setting.partition("=")[2])) > 1]
    if several:
        raise SweepError(f"set is '{several[0]}': this study takes one value a key")
    if len({job.folder.parent for job in plan([first, second], settings, seeds, out)}) != 2:
        raise SweepError(
            f"{first} and {second} stand for more than two configurations: name one and another"
        )
    return list(
        zip(plan([first], settings, seeds, out), plan([second], settings, seeds, out), strict=True)
    )


def _crossed(pairs: Sequence[tuple[Job, Job]], cross: Callable[[Job, Job], Job]) -> list[Job]:
    """All fits, then what comes of each and its other one, both ways."""
    fits = [job for pair in pairs for job in pair]
    return [*fits, *(cross(*ways) for one, other in pairs for ways in ((one, other), (other, one)))]


def _started_from(source: Job, job: Job) -> Job:
    """``job`` with the best weights of ``source`` to start from."""
    settings = (*job.settings, (_INIT_FROM, str(source.folder / BEST)))
    return replace(job, folder=_beside(job, "from", source), settings=settings, after=(source,))


def _tested_on(source: Job, other: Job) -> Job:
    """The best weights of ``source`` tested on the corpus of ``other``."""
    return replace(source, folder=_beside(source, "on", other), after=(source, other), fits=False)


def _beside(job: Job, word: str, other: Job) -> Path:
    """Folder of what comes of two runs."""
    parent = job.folder.parent
    return parent.with_name(f"{parent.name}_{word}_{other.folder.parent.name}") / job.folder.name


def _refuse_own(settings: Sequence[str], keys: Sequence[str], instead: str) -> None:
    """Refuse settings that the study makes itself."""
    for setting in settings:
        key = setting.partition("=")[0].strip().removeprefix("--")
        if key in keys:
            raise SweepError(f"set is '{setting}': the study sets {key} itself, see {instead}")


def _data_settings(job: Job, name: str) -> list[Any]:
    """What each of the job's configurations that speaks of it says of the data."""
    said = []
    for file in job.configs:
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise SweepError(f"{file}: expected YAML, {' '.join(str(error).split())}") from error
        data = content.get("data") if isinstance(content, dict) else None
        said += [data[name]] if isinstance(data, dict) and name in data else []
    return said
