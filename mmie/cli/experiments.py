"""``mmie sweep``, ``study`` and ``benchmark``: many runs, and how fast one is."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from rich.console import Console

from mmie.cli.lightning import build_parts
from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.experiments.benchmark import (
    Benchmark,
    config_name,
    render_benchmarks,
    replace_config,
    run_apart,
    run_benchmark,
    trainer_settings,
)
from mmie.experiments.studies import (
    FRACTIONS,
    plan_cross_domain,
    plan_cross_task,
    plan_low_resource,
)
from mmie.experiments.sweep import Job, plan, sweep_options, write_scripts
from mmie.experiments.sweep_runner import COMMAND, describe_outcome, run_sweep
from mmie.reports.study.page import study_table, write_study
from mmie.reports.study.study import summarise_study

STUDIES = {
    "low-resource": "with shares of the training instances",
    "cross-task": "each task from the other's weights",
    "cross-domain": "each corpus's weights on the other corpus",
}


def sweep_command(arguments: Sequence[str]) -> None:
    """``mmie sweep``."""
    settings = _sweep_parser().parse_args(list(arguments))
    jobs = plan(settings.configs, settings.set, settings.seeds, settings.out)
    if settings.only is not None and settings.only >= len(jobs):
        raise UsageError(
            f"only is {settings.only}: the sweep has {len(jobs)} runs, from 0 to {len(jobs) - 1}"
        )
    if settings.slurm or settings.wandb_sweep:
        command = [*COMMAND, "sweep", *sweep_options(settings, jobs)]
        with usage_errors():  # a file that cannot be written
            print(
                write_scripts(
                    command,
                    len(jobs),
                    settings.jobs,
                    settings.out,
                    settings.slurm,
                    settings.wandb_sweep,
                )
            )
        return
    chosen = jobs if settings.only is None else [jobs[settings.only]]
    run_sweep(
        chosen,
        settings.jobs,
        settings.test_pictures,
        lambda ended: print(describe_outcome(ended), flush=True),
    )
    print(settings.out)


def _sweep_parser() -> OneLineParser:
    """What ``mmie sweep`` understands."""
    parser = OneLineParser(
        prog="mmie sweep", description="Fit and test many runs; what is finished is not run again."
    )
    parser.add_argument(
        "configs", nargs="+", help="Configurations or globs; a.yaml+b.yaml lays b over a."
    )
    parser.add_argument(
        "--seeds", type=str, default="5", help="How many seeds, or the seeds separated by commas."
    )
    parser.add_argument(
        "--set", action="append", default=[], help="key=value, or key=a,b for a run with each."
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder for the run folders.")
    parser.add_argument(
        "--jobs", type=PositiveInt, default=1, help="Runs at a time; they share the cores."
    )
    parser.add_argument(
        "--test-pictures",
        action="store_true",
        help="Test with shuffled and without pictures as well.",
    )
    parser.add_argument(
        "--only", type=NonNegativeInt | None, default=None, help="Run this one of the runs, from 0."
    )
    parser.add_argument(
        "--wandb-sweep", type=Path | None, default=None, help="Write a W&B sweep file; run nothing."
    )
    parser.add_argument(
        "--slurm", type=Path | None, default=None, help="Write a SLURM array script; run nothing."
    )
    return parser


def study_command(arguments: Sequence[str]) -> None:
    """``mmie study low-resource``, ``cross-task`` and ``cross-domain``."""
    settings = _study_parser().parse_args(list(arguments))
    kind, chosen = settings.subcommand, settings[settings.subcommand]
    jobs = _plan_study(kind, chosen)
    run_sweep(jobs, chosen.jobs, report=lambda ended: print(describe_outcome(ended), flush=True))
    study = summarise_study(
        kind, {job.folder: job.after[0].folder if job.after else None for job in jobs}
    )
    Console().print(study_table(study))
    with usage_errors():  # a folder that cannot be written
        print("\n".join(map(str, write_study(study, chosen.out))))


def _plan_study(kind: str, chosen: Namespace) -> list[Job]:
    """The runs of a study."""
    if kind == "low-resource":
        return plan_low_resource(
            chosen.configs, chosen.fractions, chosen.set, chosen.seeds, chosen.out
        )
    plan_study = plan_cross_task if kind == "cross-task" else plan_cross_domain
    return plan_study(chosen.first, chosen.second, chosen.set, chosen.seeds, chosen.out)


def _study_parser() -> OneLineParser:
    """What ``mmie study`` understands."""
    parser = OneLineParser(
        prog="mmie study", description="Run a study of the papers, and draw its figure."
    )
    commands = parser.add_subcommands()
    for name, purpose in STUDIES.items():
        study = OneLineParser(
            description=f"Fit and test: {purpose}. What is finished is not run again."
        )
        if name == "low-resource":
            study.add_argument(
                "configs", nargs="+", help="Configurations or globs; a.yaml+b.yaml lays b over a."
            )
            study.add_argument(
                "--fractions", type=str, default=FRACTIONS, help="Shares of the training instances."
            )
        else:
            study.add_argument(
                "first", type=str, help="A configuration; a.yaml+b.yaml lays b over a."
            )
            study.add_argument("second", type=str, help="The other configuration.")
        study.add_argument(
            "--seeds",
            type=str,
            default="3",
            help="How many seeds, or the seeds separated by commas.",
        )
        study.add_argument("--set", action="append", default=[], help="key=value, for all runs.")
        study.add_argument(
            "--out", type=Path, required=True, help="Folder for the run folders and the report."
        )
        study.add_argument(
            "--jobs", type=PositiveInt, default=1, help="Runs at a time; they share the cores."
        )
        commands.add_subcommand(name, study, help=purpose)
    return parser


def benchmark_command(arguments: Sequence[str]) -> None:
    """``mmie benchmark``."""
    parser = argparse.ArgumentParser(
        prog="mmie benchmark",
        description="Clock training steps of a configuration, and take them apart.",
        epilog="All other options are those of mmie fit: --config FILE, and whatever is overridden.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--steps", type=int, default=20, help="steps that are clocked, and as many taken apart"
    )
    parser.add_argument(
        "--warmup", type=int, default=3, help="steps before that, which do not count"
    )
    parser.add_argument(
        "--against", metavar="FILE", help="a configuration to run next, in the place of --config"
    )
    parser.add_argument(
        "--name", default="", help="what to call the run; by default its configuration"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a line of JSON a run in place of a table"
    )
    settings, others = parser.parse_known_args(list(arguments))
    if settings.against is None:
        results = [_benchmark(settings.name, settings.steps, settings.warmup, others)]
    else:  # each in a process of its own, for its own peak memory
        counts = [f"--steps={settings.steps}", f"--warmup={settings.warmup}"]
        results = [
            run_apart([*counts, *line])
            for line in (others, replace_config(others, settings.against))
        ]
    if settings.json:
        print("\n".join(result.to_json() for result in results))
    else:
        Console().print(render_benchmarks(results))


def _benchmark(name: str, steps: int, warmup: int, arguments: Sequence[str]) -> Benchmark:
    """Measure the configuration that the arguments name, in this process."""
    with usage_errors():
        limits = trainer_settings(steps, warmup)
    parts = build_parts(
        [*arguments, *(f"--trainer.{key}={value}" for key, value in limits.items())]
    )
    return run_benchmark(
        name or config_name(arguments), parts.trainer, parts.model, parts.datamodule, steps, warmup
    )
