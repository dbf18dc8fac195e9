"""``mmie sweep`` and ``mmie benchmark``."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from mmie.cli.lightning import build_parts
from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.cli.plugins import IMPORT_HELP
from mmie.cli.run_folders import expand_benchmarked_run, run_config
from mmie.cli.study import CONFIGS_HELP, JOBS_HELP, SEEDS_HELP, run_shown
from mmie.cli.tuning import add_tuning_options, tune
from mmie.experiments.benchmark import Benchmark, run_benchmark, trainer_settings
from mmie.experiments.benchmark_process import config_name, replace_config, run_in_process
from mmie.experiments.benchmark_table import render_benchmarks
from mmie.experiments.job_runner import COMMAND
from mmie.experiments.scripts import sweep_options, write_scripts
from mmie.experiments.sweep import SweepJob, plan_sweep
from mmie.inference.jobs.job_files import check_targets
from mmie.runs.sweep_plan import write_sweep_plan
from mmie.utils.terminal import PlainConsole, print_lines

DEFAULT_SEEDS = "5"


def sweep_command(arguments: Sequence[str]) -> None:
    """Run ``mmie sweep``.

    Raises:
        UsageError: An option is wrong.
        SweepError: The sweep is not valid, or runs failed.
        MissingPackageError: The option needs Optuna, which is not installed.
        JobError: A script is a configuration, or exists and ``--overwrite`` is missing.
    """
    settings = _sweep_parser().parse_args(list(arguments))
    if settings.optuna is not None:
        tune(settings)
        return
    if settings.trials is not None or settings.sampler is not None:
        raise UsageError("trials and sampler are options of a search: name a space by --optuna")
    settings.seeds = settings.seeds or DEFAULT_SEEDS
    jobs = plan_sweep(settings.configs, settings.set, settings.seeds, settings.out)
    if settings.only is not None and settings.only >= len(jobs):
        raise UsageError(
            f"only is {settings.only}: the sweep has {len(jobs)} runs, from 0 to {len(jobs) - 1}"
        )
    if settings.slurm or settings.wandb_sweep:
        _write_scripts(settings, jobs)
        return
    if settings.overwrite:
        raise UsageError("overwrite replaces scripts: name one with --slurm or --wandb-sweep")
    with usage_errors():  # a folder that cannot be written
        write_sweep_plan(
            settings.out,
            shlex.join(["mmie", "sweep", *sweep_options(settings, jobs)]),
            [job.folder for job in jobs],
        )
    chosen = jobs if settings.only is None else [jobs[settings.only]]
    run_shown(chosen, settings.jobs, settings.test_pictures)
    print_lines(settings.out)


def _write_scripts(settings: Namespace, jobs: Sequence[SweepJob]) -> None:
    """Write the scripts of a sweep in place of running it, and print the lines that start them.

    Raises:
        UsageError: Both scripts are one file, or one cannot be written.
        JobError: A script is a configuration, or exists and ``--overwrite`` is missing.
    """
    files = [file for file in (settings.slurm, settings.wandb_sweep) if file is not None]
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError(f"slurm and wandb-sweep both name {files[0]}: name two files")
    for job in jobs:
        for config in job.configs:
            check_targets(str(config), files, settings.overwrite)
    command = [*COMMAND, "sweep", *sweep_options(settings, jobs)]
    scripts = {"slurm": settings.slurm, "wandb": settings.wandb_sweep}
    with usage_errors():  # a file that cannot be written
        print(write_scripts(command, len(jobs), settings.jobs, settings.out, **scripts))


def _sweep_parser() -> OneLineParser:
    """Build the parser of ``mmie sweep``."""
    parser = OneLineParser(
        prog="mmie sweep", description="Fit and test many runs; finished runs are not run again."
    )
    parser.add_argument("configs", nargs="+", help=CONFIGS_HELP)
    parser.add_argument(
        "--seeds",
        type=str | None,
        default=None,
        help=f"{SEEDS_HELP} {DEFAULT_SEEDS} by default, and 1 with --optuna.",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        help="key=value, or key=a,b for a run with each value.",
    )
    add_tuning_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="Folder of the run folders.")
    parser.add_argument("--jobs", type=PositiveInt, default=1, help=JOBS_HELP)
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
    parser.add_argument(
        "--overwrite", action="store_true", help="Replace existing files of these two options."
    )
    return parser


def benchmark_command(arguments: Sequence[str]) -> None:
    """Run ``mmie benchmark``.

    Raises:
        UsageError: An option is wrong.
        RunFolderError: The run folder that is named lacks its configuration.
        BenchmarkError: A benchmark failed in its process.
    """
    settings, others = _benchmark_parser().parse_known_args(list(arguments))
    others = expand_benchmarked_run(others)
    if settings.against is None:
        results = [_benchmark(settings.name, settings.steps, settings.warmup, others)]
    else:
        # Each in a process of its own, for its own peak memory.
        counts = [f"--steps={settings.steps}", f"--warmup={settings.warmup}"]
        is_run = Path(settings.against).is_dir()
        config = str(run_config(settings.against)) if is_run else settings.against
        against = replace_config(others, config)
        results = [run_in_process([*counts, *others]), run_in_process([*counts, *against])]
    if settings.json:
        print("\n".join(result.to_json() for result in results))
    else:
        PlainConsole().print(render_benchmarks(results))


def _benchmark_parser() -> argparse.ArgumentParser:
    """Build the parser of the options that ``mmie fit`` does not have."""
    parser = argparse.ArgumentParser(
        prog="mmie benchmark",
        usage="mmie benchmark [RUN] [OPTION ...]",
        description="Measure training steps of a configuration, or of that of the run folder RUN, "
        "and divide them into parts.",
        epilog="All other options are those of mmie fit: --config FILE, and settings that override "
        f"it. {IMPORT_HELP}",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--steps", type=int, default=20, help="steps that are measured, and as many divided"
    )
    parser.add_argument(
        "--warmup",
        type=int,
        default=3,
        help="uncounted steps before them, and as many that count operations after them",
    )
    parser.add_argument(
        "--against",
        metavar="FILE",
        help="a configuration or run folder to measure next, in the place of --config or RUN",
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
