"""``mmie sweep``, ``mmie study`` and ``mmie benchmark``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from rich.console import Console

from mmie.cli.calibration import calibration_parser, run_calibration
from mmie.cli.lightning import build_parts
from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.experiments.benchmark import Benchmark, run_benchmark, trainer_settings
from mmie.experiments.benchmark_process import config_name, replace_config, run_in_process
from mmie.experiments.benchmark_table import render_benchmarks
from mmie.experiments.job_runner import COMMAND, RunOutcome
from mmie.experiments.scripts import sweep_options, write_scripts
from mmie.experiments.studies import (
    FRACTIONS,
    plan_cross_domain,
    plan_cross_task,
    plan_low_resource,
)
from mmie.experiments.sweep import SweepJob, plan_sweep
from mmie.experiments.sweep_runner import describe_outcome, run_sweep
from mmie.reports.study.page import study_table, write_study
from mmie.reports.study.study import summarise_study

STUDIES = {
    "low-resource": "with shares of the training instances",
    "cross-task": "each task from the other's weights",
    "cross-domain": "each corpus's weights on the other corpus",
}
CALIBRATION = "certificate"
_CONFIGS_HELP = "Configurations or globs; in a.yaml+b.yaml the second overrides the first."
_SEEDS_HELP = "Number of seeds, or the seeds separated by commas."
_JOBS_HELP = "Runs at a time, which share the cores."


def sweep_command(arguments: Sequence[str]) -> None:
    """Run ``mmie sweep``.

    Raises:
        UsageError: An option is wrong.
        SweepError: The sweep is not valid, or runs failed.
    """
    settings = _sweep_parser().parse_args(list(arguments))
    jobs = plan_sweep(settings.configs, settings.set, settings.seeds, settings.out)
    if settings.only is not None and settings.only >= len(jobs):
        raise UsageError(
            f"only is {settings.only}: the sweep has {len(jobs)} runs, from 0 to {len(jobs) - 1}"
        )
    if settings.slurm or settings.wandb_sweep:
        _write_scripts(settings, jobs)
        return
    chosen = jobs if settings.only is None else [jobs[settings.only]]
    run_sweep(chosen, settings.jobs, settings.test_pictures, report=_print_outcome)
    print(settings.out)


def _write_scripts(settings: Namespace, jobs: Sequence[SweepJob]) -> None:
    """Write the scripts of a sweep in place of running it, and print the lines that start them."""
    command = [*COMMAND, "sweep", *sweep_options(settings, jobs)]
    scripts = {"slurm": settings.slurm, "wandb": settings.wandb_sweep}
    with usage_errors():  # a file that cannot be written
        print(write_scripts(command, len(jobs), settings.jobs, settings.out, **scripts))


def _print_outcome(outcome: RunOutcome) -> None:
    """Print the outcome of a job at once."""
    print(describe_outcome(outcome), flush=True)


def _sweep_parser() -> OneLineParser:
    """Build the parser of ``mmie sweep``."""
    parser = OneLineParser(
        prog="mmie sweep", description="Fit and test many runs; finished runs are not run again."
    )
    parser.add_argument("configs", nargs="+", help=_CONFIGS_HELP)
    parser.add_argument("--seeds", type=str, default="5", help=_SEEDS_HELP)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        help="key=value, or key=a,b for a run with each value.",
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder of the run folders.")
    parser.add_argument("--jobs", type=PositiveInt, default=1, help=_JOBS_HELP)
    parser.add_argument(
        "--test-pictures",
        action="store_true",
        help="Test with shuffled pictures and without pictures as well.",
    )
    parser.add_argument(
        "--only",
        type=NonNegativeInt | None,
        default=None,
        help="Run only the run with this number, from 0.",
    )
    parser.add_argument(
        "--wandb-sweep", type=Path | None, default=None, help="Write a W&B sweep file; run nothing."
    )
    parser.add_argument(
        "--slurm", type=Path | None, default=None, help="Write a SLURM array script; run nothing."
    )
    return parser


def study_command(arguments: Sequence[str]) -> None:
    """Run ``mmie study low-resource``, ``cross-task``, ``cross-domain`` or ``certificate``.

    Raises:
        UsageError: An option is wrong, or the folder of the report cannot be written.
        SweepError: The study is not valid, or runs failed.
    """
    settings = _study_parser().parse_args(list(arguments))
    kind, chosen = settings.subcommand, settings[settings.subcommand]
    if kind == CALIBRATION:
        run_calibration(chosen)
        return
    jobs = _plan_study(kind, chosen)
    run_sweep(jobs, chosen.jobs, report=_print_outcome)
    sources = {job.folder: job.after[0].folder if job.after else None for job in jobs}
    study = summarise_study(kind, sources)
    Console().print(study_table(study))
    with usage_errors():  # a folder that cannot be written
        print("\n".join(map(str, write_study(study, chosen.out))))


def _plan_study(kind: str, settings: Namespace) -> list[SweepJob]:
    """Plan the runs of a study."""
    if kind == "low-resource":
        return plan_low_resource(
            settings.configs, settings.fractions, settings.set, settings.seeds, settings.out
        )
    plan_study = plan_cross_task if kind == "cross-task" else plan_cross_domain
    return plan_study(settings.first, settings.second, settings.set, settings.seeds, settings.out)


def _study_parser() -> OneLineParser:
    """Build the parser of ``mmie study``."""
    parser = OneLineParser(
        prog="mmie study",
        description="Run a study of the papers and draw its figure, or calibrate certificates.",
    )
    commands = parser.add_subcommands()
    for name, purpose in STUDIES.items():
        commands.add_subcommand(name, _kind_parser(name, purpose), help=purpose)
    commands.add_subcommand(
        CALIBRATION, calibration_parser(), help="certificates of picture use beside the truth"
    )
    return parser


def _kind_parser(name: str, purpose: str) -> OneLineParser:
    """Build the parser of one kind of study."""
    parser = OneLineParser(description=f"Fit and test: {purpose}. Finished runs are not run again.")
    if name == "low-resource":
        parser.add_argument("configs", nargs="+", help=_CONFIGS_HELP)
        parser.add_argument(
            "--fractions", type=str, default=FRACTIONS, help="Shares of the training instances."
        )
    else:
        parser.add_argument(
            "first",
            type=str,
            help="A configuration; in a.yaml+b.yaml the second file overrides the first.",
        )
        parser.add_argument("second", type=str, help="The other configuration.")
    parser.add_argument("--seeds", type=str, default="3", help=_SEEDS_HELP)
    parser.add_argument("--set", action="append", default=[], help="key=value, for all runs.")
    parser.add_argument(
        "--out", type=Path, required=True, help="Folder of the run folders and the report."
    )
    parser.add_argument("--jobs", type=PositiveInt, default=1, help=_JOBS_HELP)
    return parser


def benchmark_command(arguments: Sequence[str]) -> None:
    """Run ``mmie benchmark``.

    Raises:
        UsageError: An option is wrong.
        BenchmarkError: A benchmark failed in its process.
    """
    settings, others = _benchmark_parser().parse_known_args(list(arguments))
    if settings.against is None:
        results = [_benchmark(settings.name, settings.steps, settings.warmup, others)]
    else:
        # Each in a process of its own, for its own peak memory.
        counts = [f"--steps={settings.steps}", f"--warmup={settings.warmup}"]
        against = replace_config(others, settings.against)
        results = [run_in_process([*counts, *others]), run_in_process([*counts, *against])]
    if settings.json:
        print("\n".join(result.to_json() for result in results))
    else:
        Console().print(render_benchmarks(results))


def _benchmark_parser() -> argparse.ArgumentParser:
    """Build the parser of the options that ``mmie fit`` does not have."""
    parser = argparse.ArgumentParser(
        prog="mmie benchmark",
        description="Measure training steps of a configuration, and divide them into parts.",
        epilog="All other options are those of mmie fit: --config FILE, and settings that override "
        "it.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--steps", type=int, default=20, help="steps that are measured, and as many divided"
    )
    parser.add_argument(
        "--warmup", type=int, default=3, help="steps before them, which do not count"
    )
    parser.add_argument(
        "--against", metavar="FILE", help="a configuration to run next, in the place of --config"
    )
    parser.add_argument("--name", default="", help="name of the run; by default its configuration")
    parser.add_argument(
        "--json", action="store_true", help="print a line of JSON for each run, and no table"
    )
    return parser


def _benchmark(name: str, steps: int, warmup: int, arguments: Sequence[str]) -> Benchmark:
    """Measure the configuration that the arguments name, in this process."""
    with usage_errors():
        limits = trainer_settings(steps, warmup)
    overrides = [f"--trainer.{key}={value}" for key, value in limits.items()]
    parts = build_parts([*arguments, *overrides])
    return run_benchmark(
        name or config_name(arguments), parts.trainer, parts.model, parts.datamodule, steps, warmup
    )
