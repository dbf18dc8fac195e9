"""Plans of the papers' studies: low resource, cross-task and cross-domain.

Runs that differ only in their seeds share a parent folder. A run that starts from another one, or
tests it, names that one first in ``after``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from mmie.experiments.sweep import SweepError, SweepJob, plan_sweep, split_setting, split_values
from mmie.runs.folder import BEST
from mmie.utils.files import read_yaml

FRACTIONS = "0.05,0.1,0.2,0.5,1"
"""Fractions of the papers' figures, and the whole training split."""
_FRACTION = "data.train_fraction"
_INIT_FROM = "model.init_args.init_from"
_CORPUS = (
    "data.corpus",
    "data.corpus.class_path",
    "data.corpus.root",
    "data.corpus.init_args.root",
)

JobPair = tuple[SweepJob, SweepJob]
"""Runs of two configurations with the same seed."""


def parse_fractions(text: str) -> list[str]:
    """Parse fractions of the training instances and sort them.

    Raises:
        SweepError: A fraction is no number above 0 and at most 1, or occurs twice.

    >>> parse_fractions("0.5, 0.05,1.0")
    ['0.05', '0.5', '1']
    """
    try:
        fractions = sorted(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        fractions = []
    are_fractions = bool(fractions) and all(0 < fraction <= 1 for fraction in fractions)
    if not are_fractions or len(set(fractions)) != len(fractions):
        raise SweepError(
            f"fractions is '{text}': "
            "expected different shares above 0 and at most 1, such as 0.05,0.5,1"
        )
    return [f"{fraction:.12g}" for fraction in fractions]


def plan_low_resource(
    configs: Sequence[str], fractions: str, settings: Sequence[str], seeds: str, out: Path
) -> list[SweepJob]:
    """Plan every run of a sweep with each fraction of the training instances, drawn by the seed.

    Args:
        configs: See `mmie.experiments.sweep.plan_sweep`.
        fractions: Fractions, separated by commas.
        settings: See `mmie.experiments.sweep.plan_sweep`.
        seeds: See `mmie.experiments.sweep.plan_sweep`.
        out: Folder of the run folders.

    Raises:
        SweepError: The sweep or the fractions are not valid, or a setting is one that the study
            sets itself.
    """
    _check_settings(settings, (_FRACTION,), "--fractions")
    runs = plan_sweep(configs, settings, seeds, out)
    jobs = []
    for fraction in parse_fractions(fractions):
        for run in runs:
            folder = run.folder.parent / f"share_{fraction}" / run.folder.name
            run_settings = (*run.settings, (_FRACTION, fraction))
            jobs.append(replace(run, folder=folder, settings=run_settings))
    return jobs


def plan_cross_task(
    first: str, second: str, settings: Sequence[str], seeds: str, out: Path
) -> list[SweepJob]:
    """Plan runs of two tasks, each from its own start and from the other task's best weights.

    Weights come from the run of the same seed.

    Args:
        first: Configuration of one task.
        second: Configuration of the other.
        settings: ``key=value`` for both, with one value per key.
        seeds: See `mmie.experiments.sweep.plan_sweep`.
        out: Folder of the run folders.

    Raises:
        SweepError: The sweep is not valid, both configurations have the same task, or a setting is
            one that the study sets itself.
    """
    _check_settings(settings, (_INIT_FROM, "model.init_from", "data.task"), "the configurations")
    pairs = _plan_pairs(first, second, settings, seeds, out)
    first_job, second_job = pairs[0]
    if _task(first_job) == _task(second_job):
        raise SweepError(
            f"{first} and {second} have the same data.task: cross-task needs one of each task"
        )
    jobs = list(chain.from_iterable(pairs))
    for source, job in _both_ways(pairs):
        folder = _crossed_folder(job, "from", source)
        job_settings = (*job.settings, (_INIT_FROM, str(source.folder / BEST)))
        jobs.append(replace(job, folder=folder, settings=job_settings, after=(source,)))
    return jobs


def plan_cross_domain(
    first: str, second: str, settings: Sequence[str], seeds: str, out: Path
) -> list[SweepJob]:
    """Plan runs of two corpora, each tested on its own corpus and on the other one.

    Args:
        first: Configuration of one corpus.
        second: Configuration of another corpus, of the same task.
        settings: ``key=value`` for both, with one value per key.
        seeds: See `mmie.experiments.sweep.plan_sweep`.
        out: Folder of the run folders.

    Raises:
        SweepError: The sweep is not valid, the tasks differ, the corpora do not, or a setting is
            one that the study sets itself.
    """
    _check_settings(settings, _CORPUS, "the configurations")
    pairs = _plan_pairs(first, second, settings, seeds, out)
    first_job, second_job = pairs[0]
    sets_task = any(split_setting(setting)[0] == "data.task" for setting in settings)
    if _task(first_job) != _task(second_job) and not sets_task:
        raise SweepError(f"{first} and {second} differ in data.task: cross-domain needs one task")
    if _data_settings(first_job, "corpus") == _data_settings(second_job, "corpus"):
        raise SweepError(
            f"{first} and {second} have the same data.corpus: cross-domain needs two corpora"
        )
    jobs = list(chain.from_iterable(pairs))
    for source, other in _both_ways(pairs):
        folder = _crossed_folder(source, "on", other)
        jobs.append(replace(source, folder=folder, after=(source, other), fits=False))
    return jobs


def _plan_pairs(
    first: str, second: str, settings: Sequence[str], seeds: str, out: Path
) -> list[JobPair]:
    """Plan the runs of two configurations, paired by seed.

    Raises:
        SweepError: A setting has several values, or the names are not those of two configurations.
    """
    for setting in settings:
        if len(split_values(split_setting(setting)[1])) > 1:
            raise SweepError(f"set is '{setting}': this study takes one value a key")
    jobs = plan_sweep([first, second], settings, seeds, out)
    if len({job.folder.parent for job in jobs}) != 2:
        raise SweepError(
            f"{first} and {second} stand for more than two configurations: name one and another"
        )
    first_jobs = plan_sweep([first], settings, seeds, out)
    second_jobs = plan_sweep([second], settings, seeds, out)
    return list(zip(first_jobs, second_jobs, strict=True))


def _both_ways(pairs: Sequence[JobPair]) -> Iterator[JobPair]:
    """Yield each pair of runs in both orders."""
    for first, second in pairs:
        yield first, second
        yield second, first


def _crossed_folder(job: SweepJob, word: str, other: SweepJob) -> Path:
    """Return the folder of a combination of two runs."""
    parent = job.folder.parent
    return parent.with_name(f"{parent.name}_{word}_{other.folder.parent.name}") / job.folder.name


def _check_settings(settings: Sequence[str], own_keys: Sequence[str], option: str) -> None:
    """Raise if a setting is one that the study sets itself.

    Args:
        settings: Settings of the command line.
        own_keys: Keys that the study sets.
        option: What sets them instead.

    Raises:
        SweepError: A setting has one of these keys.
    """
    for setting in settings:
        key, _ = split_setting(setting)
        if key in own_keys:
            raise SweepError(f"set is '{setting}': the study sets {key} itself, see {option}")


def _task(job: SweepJob) -> list[Any]:
    """Return the task of a job's last configuration that sets one, or an empty list."""
    return _data_settings(job, "task")[-1:]


def _data_settings(job: SweepJob, name: str) -> list[Any]:
    """Return the values of a setting of the data in each of the job's configurations that has it.

    Raises:
        SweepError: A configuration is not YAML.
    """
    values = []
    for file in job.configs:
        try:
            content = read_yaml(file)
        except yaml.YAMLError as error:
            raise SweepError(f"{file}: expected YAML, {' '.join(str(error).split())}") from error
        data = content.get("data") if isinstance(content, dict) else None
        if isinstance(data, dict) and name in data:
            values.append(data[name])
    return values
