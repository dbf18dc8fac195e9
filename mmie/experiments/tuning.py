"""Search for good settings by Optuna: every trial is a run of a sweep for each seed.

Optuna's sampler proposes the settings, and its storage, ``optuna.db`` in the sweep's folder,
records them with the validation scores. The same command goes on after an interruption: trials that
were running are continued, then new ones are proposed until the number of trials is reached. The
space of settings is a YAML file::

    model.text_lr: {low: 1.0e-5, high: 1.0e-3, log: true}
    model.num_fusion_layers: {low: 1, high: 6}
    data.batch_size: [8, 16, 32]

Bounds that are both integers span integers, and ``step`` divides the span. The test split is never
looked at.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from mmie.experiments.job_runner import COMMAND, JobRunner
from mmie.experiments.sweep import FIRST_SEED, OWN_SETTINGS, Setting, SweepError, SweepJob
from mmie.experiments.sweep_runner import describe_outcome, hold_folders
from mmie.runs.metrics import read_metrics
from mmie.utils.files import digest_values, read_yaml
from mmie.utils.locks import folder_lock
from mmie.utils.optional import require
from mmie.utils.processes import count_cores
from mmie.utils.signals import signals_ignored, termination_interrupts
from mmie.utils.text import first_line
from mmie.utils.wording import format_score

OBJECTIVE = "val/f1"
"""Score of a run's best epoch that trials are compared by."""
STORAGE = "optuna.db"
_STUDY = "sweep"
_DIGEST = "sweep"
"""Attribute of a study that holds a digest of what all trials share."""
_KEYS = {"low", "high", "log", "step"}
"""Keys of a span."""


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """Result of a trial.

    Attributes:
        number: Its number, from 0.
        settings: Settings that Optuna proposed.
        value: Mean of the validation score over seeds; None if a run failed.
        reason: Why it failed; empty if it did not.
    """

    number: int
    settings: tuple[Setting, ...]
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """What all trials share.

    Attributes:
        configs: Configuration files, of which later ones override earlier ones.
        settings: Settings that override the configurations in every trial.
        seeds: Seeds of every trial.
        out: Folder of the trials.
    """

    configs: tuple[Path, ...]
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    out: Path

    def jobs(self, number: int, proposed: Sequence[Setting]) -> list[SweepJob]:
        """Return the runs of a trial, which are fitted and not tested."""
        settings = (*self.settings, *proposed)
        folder = self.out / f"trial_{number:03d}"
        return [
            SweepJob(folder / f"seed_{seed}", self.configs, settings, seed, tests=False)
            for seed in self.seeds
        ]

    @property
    def digest(self) -> str:
        """SHA-256 of the configurations' content, the settings and the seeds."""
        contents = [config.read_text(encoding="utf-8") for config in self.configs]
        return digest_values([contents, self.settings, self.seeds])


def read_space(file: Path) -> dict[str, Any]:
    """Read a space of settings as Optuna's distributions by the settings' names.

    Raises:
        SweepError: The file cannot be read, or an entry is no span and no list of choices.
        MissingPackageError: Optuna is not installed.
    """
    try:
        content = read_yaml(file)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SweepError(f"{file}: expected a space of settings: {first_line(error)}") from error
    if not isinstance(content, dict) or not content:
        raise SweepError(f"{file}: expected settings, each with a span or a list of choices")
    space: dict[str, Any] = {}
    for key, entry in content.items():
        name = str(key)
        if name in OWN_SETTINGS:
            raise SweepError(f"{file}: a sweep sets {name} itself")
        try:
            space[name] = _distribution(entry)
        except (ValueError, TypeError) as error:
            raise SweepError(
                f"{file}: {name} is {entry!r}: expected {{low: 1, high: 8}}, with log: true or a "
                f"step if need be, or a list of choices: {first_line(error)}"
            ) from error
    return space


def run_tuning(
    plan: TuningPlan,
    space: Mapping[str, Any],
    num_trials: int,
    sampler: str = "TPESampler",
    max_parallel: int = 1,
    report: Callable[[TrialOutcome], None] | None = None,
    command: Sequence[str] = COMMAND,
) -> TrialOutcome:
    """Run trials until there are as many as asked for, and return the best one.

    Args:
        plan: What all trials share.
        space: Optuna's distributions by the settings' names.
        num_trials: Number of trials, those of earlier calls included.
        sampler: Name of a class of ``optuna.samplers``.
        max_parallel: Largest number of trials at a time, which share the cores.
        report: Receives the outcome of every trial.
        command: Command that runs ``mmie``.

    Raises:
        SweepError: The folder holds another search, the sampler is not known, or no trial has
            succeeded.
        LockError: Another process runs trials in the folder.
        MissingPackageError: Optuna is not installed.
    """
    runner = JobRunner(command, max(1, count_cores() // max_parallel))
    with (
        termination_interrupts(),
        folder_lock(plan.out, "sweep"),
        ThreadPoolExecutor(max_parallel) as pool,
    ):
        study = _open_study(plan, sampler)
        running: set[Future[TrialOutcome]] = set()
        try:
            for number, proposed in _proposals(study, space, num_trials):
                running.add(pool.submit(_run_trial, runner, plan, number, proposed))
                if len(running) >= max_parallel:
                    running = _record_finished(study, running, report)
            while running:
                running = _record_finished(study, running, report)
        except BaseException:  # interrupts included: no run goes on, and none starts
            with signals_ignored():
                pool.shutdown(wait=False, cancel_futures=True)
                runner.processes.end()
            raise
    return _best_trial(study)


def describe_trial(outcome: TrialOutcome) -> str:
    """Describe the outcome of a trial in one line."""
    settings = " ".join(f"{key}={value}" for key, value in outcome.settings)
    if outcome.value is None:
        return f"trial {outcome.number}: {outcome.reason}"
    return f"trial {outcome.number}: {OBJECTIVE} {format_score(outcome.value)} with {settings}"


def _distribution(entry: object) -> Any:
    """Convert an entry of a space to a distribution.

    Raises:
        ValueError: The entry is no span and no list, or Optuna refuses it.
        TypeError: A bound is no number.
    """
    distributions = require("optuna", "tune").distributions
    if isinstance(entry, list) and entry:
        return distributions.CategoricalDistribution([_to_text(value) for value in entry])
    if not isinstance(entry, dict) or not {"low", "high"} <= entry.keys() <= _KEYS:
        raise ValueError("neither a span nor a list")
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"log is {log!r}")
    numbers = {key: entry[key] for key in ("low", "high", "step") if entry.get(key) is not None}
    if all(type(number) is int for number in numbers.values()):
        return distributions.IntDistribution(**numbers, log=log)
    # YAML reads 1e-5 as text
    as_floats = {key: float(number) for key, number in numbers.items()}
    return distributions.FloatDistribution(**as_floats, log=log)


def _to_text(value: object) -> str:
    """Write a value as on a command line."""
    return value if isinstance(value, str) else json.dumps(value)


def _open_study(plan: TuningPlan, sampler: str) -> Any:
    """Create the study of a folder, or load it.

    Raises:
        SweepError: The folder holds another search, or the sampler is not known.
    """
    optuna = require("optuna", "tune")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler_class = getattr(optuna.samplers, sampler, None)
    if not isinstance(sampler_class, type) or not hasattr(sampler_class, "sample_independent"):
        raise SweepError(f"sampler is '{sampler}': expected a class of optuna.samplers")
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{(plan.out / STORAGE).resolve()}",
            study_name=_STUDY,
            direction="maximize",
            load_if_exists=True,
        )
        # a sampler that starts from the same seed again would propose the same settings
        study.sampler = sampler_class(seed=FIRST_SEED + len(study.trials))
    except Exception as error:  # storage, SQLAlchemy and samplers raise their own errors
        raise SweepError(f"{plan.out / STORAGE}: {first_line(error)}") from error
    known = study.user_attrs.get(_DIGEST)
    if known not in (None, plan.digest):
        raise SweepError(
            f"{plan.out} holds a search with another configuration, other settings or seeds: "
            "choose another --out, or remove it"
        )
    study.set_user_attr(_DIGEST, plan.digest)
    return study


def _proposals(
    study: Any, space: Mapping[str, Any], num_trials: int
) -> Iterator[tuple[int, tuple[Setting, ...]]]:
    """Yield number and settings of trials that were interrupted, then of new ones.

    Raises:
        SweepError: The space has other choices than in earlier trials.
    """
    trials = study.trials
    for trial in trials:
        if not trial.state.is_finished():
            yield trial.number, _settings(trial.params)
    for _ in range(len(trials), num_trials):
        try:
            trial = study.ask(fixed_distributions=dict(space))
        except ValueError as error:
            raise SweepError(f"the space differs from earlier trials: {error}") from error
        yield trial.number, _settings(trial.params)


def _settings(values: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Return proposed values as settings."""
    return tuple((key, _to_text(value)) for key, value in values.items())


def _run_trial(
    runner: JobRunner, plan: TuningPlan, number: int, proposed: tuple[Setting, ...]
) -> TrialOutcome:
    """Fit the runs of a trial and return the mean of their validation scores."""
    scores: list[float] = []
    jobs = plan.jobs(number, proposed)
    with hold_folders(jobs):
        for job in jobs:
            outcome = runner.run(job)
            if outcome.failed:
                return TrialOutcome(number, proposed, None, describe_outcome(outcome))
            score = read_metrics(job.folder).get("fit", {}).get("best", {}).get(OBJECTIVE)
            if score is None:
                reason = f"{job.folder}: its validation has no {OBJECTIVE}"
                return TrialOutcome(number, proposed, None, reason)
            scores.append(score)
    return TrialOutcome(number, proposed, fmean(scores))


def _record_finished(
    study: Any,
    running: set[Future[TrialOutcome]],
    report: Callable[[TrialOutcome], None] | None,
) -> set[Future[TrialOutcome]]:
    """Wait for a trial, record all that have ended, and return those that still run."""
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        outcome = future.result()
        if outcome.value is None:
            study.tell(outcome.number, state=require("optuna", "tune").trial.TrialState.FAIL)
        else:
            study.tell(outcome.number, outcome.value)
        if report is not None:
            report(outcome)
    return rest


def _best_trial(study: Any) -> TrialOutcome:
    """Return the trial with the highest score.

    Raises:
        SweepError: No trial has succeeded.
    """
    if not any(trial.value is not None for trial in study.trials):
        raise SweepError(
            f"none of {len(study.trials)} trials has succeeded: see the sweep.log of their runs, "
            "and ask for more --trials or choose another --out"
        )
    best = study.best_trial
    return TrialOutcome(best.number, _settings(best.params), best.value)
