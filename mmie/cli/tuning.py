"""The options of ``mmie sweep`` that search for settings by Optuna."""

from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from mmie.cli.parsing import OneLineParser, UsageError
from mmie.experiments.sweep import plan_sweep
from mmie.experiments.tuning import TrialOutcome, TuningPlan, describe_trial, read_space, run_tuning
from mmie.utils.terminal import print_lines

_TRIALS = 20
_SAMPLER = "TPESampler"
_SEEDS = "1"
_CONFLICTS = ("only", "slurm", "wandb_sweep", "test_pictures", "overwrite")
"""Options of a sweep that a search does not have."""


def add_tuning_options(parser: OneLineParser) -> None:
    """Add the options of a search."""
    parser.add_argument(
        "--optuna",
        type=Path | None,
        default=None,
        help="Space of settings, e.g. `model.text_lr: {low: 1.0e-5, high: 1.0e-3, log: true}`: "
        "search it by Optuna for the best validation score.",
    )
    parser.add_argument(
        "--trials",
        type=PositiveInt | None,
        default=None,
        help=f"Trials of the search, those of earlier calls included; {_TRIALS} by default.",
    )
    parser.add_argument(
        "--sampler",
        type=str | None,
        default=None,
        help=f"Class of optuna.samplers; {_SAMPLER} by default.",
    )


def tune(settings: Namespace) -> None:
    """Search for the settings with the best validation score.

    Args:
        settings: Options of ``mmie sweep``.

    Raises:
        UsageError: An option does not fit a search.
        SweepError: The search is not valid, or no trial has succeeded.
        MissingPackageError: Optuna is not installed.
    """
    for name in _CONFLICTS:
        if settings[name] not in (None, False):
            option = name.replace("_", "-")
            raise UsageError(f"{option} is an option of a plain sweep: leave it out, or --optuna")
    space = read_space(settings.optuna)
    plan = _plan(settings)
    repeated = sorted(set(space).intersection(key for key, _ in plan.settings))
    if repeated:
        raise UsageError(f"{repeated[0]} is given by --set and by {settings.optuna}")
    best = run_tuning(
        plan,
        space,
        settings.trials or _TRIALS,
        settings.sampler or _SAMPLER,
        settings.jobs,
        print_trial,
    )
    print_lines(f"best {describe_trial(best)}", plan.out)


def print_trial(outcome: TrialOutcome) -> None:
    """Print the outcome of a trial at once."""
    print_lines(describe_trial(outcome))


def _plan(settings: Namespace) -> TuningPlan:
    """Plan the part that all trials share.

    Raises:
        UsageError: Several configurations, or several values of a setting, are named.
        SweepError: A file does not exist, or a setting or the seeds are not valid.
    """
    jobs = plan_sweep(settings.configs, settings.set, settings.seeds or _SEEDS, settings.out)
    shared = {(job.configs, job.settings) for job in jobs}
    if len(shared) > 1:
        raise UsageError(
            "a search has one configuration, and one value for each --set: move others to the space"
        )
    ((configs, fixed),) = shared
    return TuningPlan(configs, fixed, tuple(job.seed for job in jobs), settings.out)
