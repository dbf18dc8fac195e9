"""``mmie study``."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from mmie.cli.calibration import calibration_parser, run_calibration
from mmie.cli.parsing import OneLineParser, usage_errors
from mmie.experiments.studies import (
    FRACTIONS,
    plan_cross_domain,
    plan_cross_task,
    plan_low_resource,
)
from mmie.experiments.sweep import SweepError, SweepJob
from mmie.experiments.sweep_display import show_sweep
from mmie.experiments.sweep_runner import describe_plan, run_sweep
from mmie.experiments.variations import (
    SWEPT_VALUES,
    BaseConfiguration,
    Variation,
    find_pretraining,
    plan_variations,
    read_base,
    vary_ablations,
    vary_crops,
    vary_number,
    vary_pretraining,
)
from mmie.reports.methods import find_method_info
from mmie.reports.study.page import study_table, write_study
from mmie.reports.study.points import StudySetting
from mmie.reports.study.study import summarise_study
from mmie.runs.sweep_plan import write_sweep_plan
from mmie.utils.terminal import PlainConsole, print_lines

CONFIGS_HELP = (
    "Configurations, by file or name, or globs; in a.yaml+b.yaml the second overrides the first."
)
SEEDS_HELP = "Number of seeds, or the seeds separated by commas."
JOBS_HELP = "Runs at a time, which share the cores."
_CONFIG_HELP = "A configuration; in a.yaml+b.yaml the second file overrides the first."
STUDIES = {
    "low-resource": "with shares of the training instances",
    "cross-task": "each task from the other's weights",
    "cross-domain": "each corpus's weights on the other corpus",
    "ablations": "every row of the paper's ablation table",
    "pretraining": "with pretrained and with random weights",
    "sweep-figure": "with several values of one number, such as the number of fusion layers",
    "crops": "with fewer crops, without any, and with crops of other detectors",
}
CALIBRATION = "certificate"
_PAIRED = ("cross-task", "cross-domain")


def study_command(arguments: Sequence[str]) -> None:
    """Run ``mmie study KIND``.

    Raises:
        UsageError: An option is wrong, or the folder of the report cannot be written.
        MethodError: The configuration names no method.
        SweepError: The study is not valid, or runs failed.
    """
    settings = _study_parser().parse_args(list(arguments))
    kind, chosen = settings.subcommand, settings[settings.subcommand]
    if kind == CALIBRATION:
        run_calibration(chosen)
        return
    jobs = _plan_study(kind, chosen)
    if chosen.dry_run:
        print_lines(*describe_plan(jobs).splitlines())
        return
    tested = [job.folder for job in jobs if job.tests]
    with usage_errors():  # a folder that cannot be written
        write_sweep_plan(chosen.out, shlex.join(["mmie", "study", *arguments]), tested)
    run_shown(jobs, chosen.jobs)
    sources: dict[Path, Path | None] = {}
    values = {}
    for job in jobs:
        if job.tests:
            has_source = bool(job.after) and not job.label
            sources[job.folder] = job.after[0].folder if has_source else None
            if job.label:
                values[job.folder] = StudySetting(job.label, job.value)
    study = summarise_study(kind, sources, settings=values or None)
    PlainConsole().print(study_table(study))
    with usage_errors():  # a folder that cannot be written
        print_lines(*write_study(study, chosen.out))


def run_shown(jobs: Sequence[SweepJob], max_parallel: int, test_pictures: bool = False) -> None:
    """Run the jobs of a sweep or study, and show which wait, run and have ended.

    Args:
        jobs: See `mmie.experiments.sweep_runner.run_sweep`.
        max_parallel: See `mmie.experiments.sweep_runner.run_sweep`.
        test_pictures: See `mmie.experiments.sweep_runner.run_sweep`.

    Raises:
        SweepError: A folder holds another run, jobs have failed, or the corpus has changed.
        LockError: Another sweep has one of the jobs.
    """
    with show_sweep(jobs, max_parallel) as display:
        run_sweep(
            jobs,
            max_parallel,
            test_pictures,
            report=display.end_job,
            announce=display.begin_step,
        )


def _plan_study(kind: str, settings: Namespace) -> list[SweepJob]:
    """Plan the runs of a study.

    Raises:
        SweepError: The study is not valid.
        MethodError: The configuration names no method.
    """
    common = (settings.set, settings.seeds, settings.out)
    if kind == "low-resource":
        return plan_low_resource(settings.configs, settings.fractions, *common)
    if kind in _PAIRED:
        plan_study = plan_cross_task if kind == "cross-task" else plan_cross_domain
        return plan_study(settings.first, settings.second, *common)
    base = read_base(settings.config, settings.out)
    pretraining = settings.get("pretraining")
    if kind in ("ablations", "pretraining") and pretraining is None:
        paper = find_method_info(base.class_path).paper
        pretraining = find_pretraining(settings.config, base, paper)
    variations = _vary(kind, settings, base, pretraining is not None)
    return plan_variations(settings.config, variations, *common, pretraining)


def _vary(
    kind: str, settings: Namespace, base: BaseConfiguration, has_pretraining: bool
) -> list[Variation]:
    """List the variations of a study of one configuration.

    Raises:
        SweepError: The study is not valid.
        MethodError: The configuration names no method.
    """
    method = find_method_info(base.class_path)
    paper, defaults = method.paper, method.defaults
    if kind == "pretraining":
        return vary_pretraining(base, defaults, has_pretraining)
    if kind == "sweep-figure":
        return vary_number(base, defaults, settings.vary, settings["values"])
    if kind == "crops":
        return vary_crops(base, paper, settings.detector)
    if paper is None:
        raise SweepError(f"{base.class_path} has no paper with an ablation table")
    return vary_ablations(base, paper, has_pretraining)


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
        parser.add_argument("configs", nargs="+", help=CONFIGS_HELP)
        parser.add_argument(
            "--fractions", type=str, default=FRACTIONS, help="Shares of the training instances."
        )
    elif name in _PAIRED:
        parser.add_argument("first", type=str, help=_CONFIG_HELP)
        parser.add_argument("second", type=str, help="The other configuration.")
    else:
        _add_variation_options(parser, name)
    parser.add_argument("--seeds", type=str, default="3", help=SEEDS_HELP)
    parser.add_argument("--set", action="append", default=[], help="key=value, for all runs.")
    parser.add_argument(
        "--out", type=Path, required=True, help="Folder of the run folders and the report."
    )
    parser.add_argument("--jobs", type=PositiveInt, default=1, help=JOBS_HELP)
    parser.add_argument(
        "--dry-run", action="store_true", help="List the runs as commands; run nothing."
    )
    return parser


def _add_variation_options(parser: OneLineParser, name: str) -> None:
    """Add the options of a study of one configuration."""
    parser.add_argument("config", type=str, help=_CONFIG_HELP)
    if name in ("ablations", "pretraining"):
        parser.add_argument(
            "--pretraining",
            type=Path | None,
            default=None,
            help="Configuration of the pretraining that runs start from; by default that beside "
            "the configuration, for a method whose published scores have one.",
        )
    if name == "sweep-figure":
        parser.add_argument(
            "--vary",
            type=str,
            default="num_fusion_layers",
            help=f"num_objects or an argument of the method, e.g. {', '.join(SWEPT_VALUES)}.",
        )
        parser.add_argument(
            "--values", type=str | None, default=None, help="Its values, separated by commas."
        )
    if name == "crops":
        parser.add_argument(
            "--detector",
            action="append",
            default=[],
            help="NAME=ROOT: a root of the corpus with crops of another detector.",
        )
