"""The ``mmie`` command."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from rich.console import Console

from mmie.app.command import serve_command
from mmie.data import Corpus
from mmie.data.demo import render_bounds, write_demo
from mmie.data.stats import check_corpus, corpus_stats, render_report, render_stats
from mmie.grounding.command import ground_command
from mmie.inference_command import convert_command, export_command, extract_command
from mmie.lightning_command import build_parts, features_command, lightning_command
from mmie.reports.comparison import render_runs, write_report
from mmie.reports.dashboard import log_comparison
from mmie.reports.diagnosis import diagnose_post, diagnose_split, load_subject, read_data_settings
from mmie.reports.diagnosis_page import render_post, render_split, write_page
from mmie.reports.methods import describe, find_listed, listed_methods, render_markdown, render_method, render_methods
from mmie.reports.runs import find_runs
from mmie.reports.studies import measure
from mmie.reports.study_page import render_study, write_study
from mmie.training.benchmark import (
    Benchmark,
    config_name,
    render_benchmarks,
    replace_config,
    run_apart,
    run_benchmark,
    trainer_settings,
)
from mmie.training.studies import FRACTIONS, plan_cross_domain, plan_cross_task, plan_low_resource
from mmie.training.sweep import Job, plan, sweep_options, write_scripts
from mmie.training.sweep_runner import COMMAND, describe_outcome, run_sweep
from mmie.training.wandb_logger import WandbSettings, start_run, wandb_init, wandb_warns
from mmie.types import MmieError, Split
from mmie.usage import OneLineParser, UsageError, complete_flags, usage_errors


def corpus_command(arguments: Sequence[str]) -> None:
    """``mmie corpus demo``, ``stats``, ``check`` and ``features``."""
    if arguments[:1] == ["features"]:
        features_command(arguments[1:])
        return
    parser = _corpus_parser()
    settings = parser.parse_args(list(arguments))
    with usage_errors():
        chosen = parser.instantiate(settings)[settings.subcommand]
        if settings.subcommand == "demo":
            Console().print(render_bounds(write_demo(**chosen.as_dict())))
            return
    if settings.subcommand == "stats":
        stats = corpus_stats(chosen.corpus)
        Console().print(render_stats(stats)) if not chosen.json else print(json.dumps(stats, indent=2))
    else:
        chosen.corpus.strict = False  # list every malformed line, not only the first
        report = check_corpus(chosen.corpus)
        Console().print(render_report(report)) if not chosen.json else print(json.dumps(report.to_dict(), indent=2))
        sys.exit(0 if report.ok else 1)


def compare_command(arguments: Sequence[str]) -> None:
    """``mmie compare``."""
    parser = OneLineParser(prog="mmie compare", description="Compare the test scores of runs; write a report.")
    parser.add_argument("runs", nargs="+", help="Run folders, globs, or folders that hold run folders at any depth.")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="Folder for HTML, Markdown and JSON.")
    parser.add_argument("--resamples", type=PositiveInt, default=10_000, help="Draws for each pair of methods.")
    parser.add_argument("--posts", type=NonNegativeInt, default=12, help="Posts in dispute to show at most.")
    parser.add_argument("--wandb", type=WandbSettings | None, default=None, help="Log it to Weights & Biases as well.")
    settings = parser.instantiate(parser.parse_args(list(arguments)))
    runs, untested = find_runs(settings.runs)
    Console().print(render_runs(runs))
    with usage_errors():  # a folder that cannot be written
        page = write_report(runs, untested, settings.out, settings.resamples, settings.posts)
    if settings.wandb is not None:
        _log_to_wandb(settings.wandb, settings.out)
    print(page)


def _log_to_wandb(settings: WandbSettings, folder: Path) -> None:
    """Log a comparison that was written to a folder."""
    run = start_run(wandb_init(settings, folder, job_type="comparison"))
    with wandb_warns():
        log_comparison(run, folder)
        run.finish()


def sweep_command(arguments: Sequence[str]) -> None:
    """``mmie sweep``."""
    settings = _sweep_parser().parse_args(list(arguments))
    jobs = plan(settings.configs, settings.set, settings.seeds, settings.out)
    if settings.only is not None and settings.only >= len(jobs):
        raise UsageError(f"only is {settings.only}: the sweep has {len(jobs)} runs, from 0 to {len(jobs) - 1}")
    if settings.slurm or settings.wandb_sweep:
        command = [*COMMAND, "sweep", *sweep_options(settings, jobs)]
        with usage_errors():  # a file that cannot be written
            print(write_scripts(command, len(jobs), settings.jobs, settings.out, settings.slurm, settings.wandb_sweep))
        return
    chosen = jobs if settings.only is None else [jobs[settings.only]]
    run_sweep(chosen, settings.jobs, settings.test_pictures, lambda ended: print(describe_outcome(ended), flush=True))
    print(settings.out)


def study_command(arguments: Sequence[str]) -> None:
    """``mmie study low-resource``, ``cross-task`` and ``cross-domain``."""
    settings = _study_parser().parse_args(list(arguments))
    kind, chosen = settings.subcommand, settings[settings.subcommand]
    jobs = _plan_study(kind, chosen)
    run_sweep(jobs, chosen.jobs, report=lambda ended: print(describe_outcome(ended), flush=True))
    study = measure(kind, {job.folder: job.after[0].folder if job.after else None for job in jobs})
    Console().print(render_study(study))
    with usage_errors():  # a folder that cannot be written
        print("\n".join(map(str, write_study(study, chosen.out))))


def _plan_study(kind: str, chosen: Namespace) -> list[Job]:
    """The runs of a study."""
    if kind == "low-resource":
        return plan_low_resource(chosen.configs, chosen.fractions, chosen.set, chosen.seeds, chosen.out)
    plan_study = plan_cross_task if kind == "cross-task" else plan_cross_domain
    return plan_study(chosen.first, chosen.second, chosen.set, chosen.seeds, chosen.out)


def methods_command(arguments: Sequence[str]) -> None:
    """``mmie methods``."""
    parser = OneLineParser(prog="mmie methods", description="List the methods, or tell all about those that are named.")
    parser.add_argument("names", nargs="*", help="Class names, in whatever case, or full paths of classes.")
    parser.add_argument("--json", action="store_true", help="Print JSON in place of tables.")
    parser.add_argument("--markdown", action="store_true", help="Print the README's table.")
    settings = parser.parse_args(list(arguments))
    methods = [find_listed(name) for name in settings.names] or listed_methods()
    if settings.json:
        print(json.dumps([describe(method) for method in methods], indent=2, default=str))
    elif settings.markdown:
        print(render_markdown(methods))
    elif settings.names:
        Console().print(*map(render_method, methods), sep="\n\n")
    else:
        Console().print(render_methods(methods))


def benchmark_command(arguments: Sequence[str]) -> None:
    """``mmie benchmark``."""
    parser = argparse.ArgumentParser(
        prog="mmie benchmark",
        description="Clock training steps of a configuration, and take them apart.",
        epilog="All other options are those of mmie fit: --config FILE, and whatever is overridden.",
        allow_abbrev=False,
    )
    parser.add_argument("--steps", type=int, default=20, help="steps that are clocked, and as many taken apart")
    parser.add_argument("--warmup", type=int, default=3, help="steps before that, which do not count")
    parser.add_argument("--against", metavar="FILE", help="a configuration to run next, in the place of --config")
    parser.add_argument("--name", default="", help="what to call the run; by default its configuration")
    parser.add_argument("--json", action="store_true", help="print a line of JSON a run in place of a table")
    settings, others = parser.parse_known_args(list(arguments))
    if settings.against is None:
        results = [_benchmark(settings.name, settings.steps, settings.warmup, others)]
    else:  # each in a process of its own, for its own peak memory
        counts = [f"--steps={settings.steps}", f"--warmup={settings.warmup}"]
        results = [run_apart([*counts, *line]) for line in (others, replace_config(others, settings.against))]
    if settings.json:
        print("\n".join(result.to_json() for result in results))
    else:
        Console().print(render_benchmarks(results))


def _benchmark(name: str, steps: int, warmup: int, arguments: Sequence[str]) -> Benchmark:
    """Measure the configuration that the arguments name, in this process."""
    with usage_errors():
        limits = trainer_settings(steps, warmup)
    parts = build_parts([*arguments, *(f"--trainer.{key}={value}" for key, value in limits.items())])
    return run_benchmark(name or config_name(arguments), parts.trainer, parts.model, parts.datamodule, steps, warmup)


def diagnose_command(arguments: Sequence[str]) -> None:
    """``mmie diagnose``."""
    named = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    named.add_argument("--checkpoint")
    named.add_argument("--config")
    run, _ = named.parse_known_args(list(arguments))
    data = {} if run.checkpoint is None else read_data_settings(run.checkpoint, run.config)
    corpus = [f"--data.corpus={json.dumps(data['corpus'])}"] if "corpus" in data else []
    parser = _diagnose_parser()
    settings = parser.parse_args([*corpus, *arguments])
    with usage_errors():
        chosen = parser.instantiate(settings)
        subject = load_subject(chosen.checkpoint, chosen.data.corpus, data, chosen.split)
    if chosen.post is not None:
        page = render_post(subject, diagnose_post(subject, chosen.post))
    else:
        page = render_split(subject, *diagnose_split(subject, chosen.sample))
    print(write_page(page, chosen.out))


def _diagnose_parser() -> OneLineParser:
    """What ``mmie diagnose`` understands."""
    parser = OneLineParser(prog="mmie diagnose", description="Show why a checkpoint answers as it does, as a page.")
    parser.add_argument("--checkpoint", type=str, required=True, help="Checkpoint of a run.")
    parser.add_argument("--post", type=str | None, default=None, help="Id of a post; without one, a whole split.")
    parser.add_argument("--split", type=Split, default="test", help="Split to look at.")
    parser.add_argument("--sample", type=PositiveInt, default=500, help="Most instances of a split, drawn at random.")
    parser.add_argument("--out", type=str, default="diagnosis.html", help="Page to write.")
    parser.add_argument(
        "--config", type=str | None, default=None, help="Configuration that names the corpus; by default the run's own."
    )
    parser.add_subclass_arguments(Corpus, "data.corpus", required=True, help="Another corpus than the run's.")
    return parser


def _corpus_parser() -> OneLineParser:
    """What ``mmie corpus`` understands."""
    parser = OneLineParser(
        prog="mmie corpus",
        description="Make the demo corpus; count or check any corpus; with features, a --config and the other "
        "options of mmie fit, compute ahead of time what its fits and tests read.",
    )
    commands = parser.add_subcommands()
    demo = OneLineParser(description="Write the demo corpus and print the best score that text alone can reach on it.")
    demo.add_function_arguments(write_demo)
    commands.add_subcommand("demo", demo, help="write the demo corpus")
    for name, purpose in (("stats", "count posts, entities, relations and pictures"), ("check", "find what is broken")):
        command = OneLineParser(description=f"For any corpus: {purpose}.")
        command.add_subclass_arguments(Corpus, "corpus", required=True, help="E.g. MNRE --corpus.root data/mnre")
        command.add_argument("--json", action="store_true", help="Print JSON in place of a table.")
        commands.add_subcommand(name, command, help=purpose)
    return parser


def _sweep_parser() -> OneLineParser:
    """What ``mmie sweep`` understands."""
    parser = OneLineParser(prog="mmie sweep", description="Fit and test many runs; what is finished is not run again.")
    parser.add_argument("configs", nargs="+", help="Configurations or globs; a.yaml+b.yaml lays b over a.")
    parser.add_argument("--seeds", type=str, default="5", help="How many seeds, or the seeds separated by commas.")
    parser.add_argument("--set", action="append", default=[], help="key=value, or key=a,b for a run with each.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for the run folders.")
    parser.add_argument("--jobs", type=PositiveInt, default=1, help="Runs at a time; they share the cores.")
    parser.add_argument("--test-pictures", action="store_true", help="Test with shuffled and without pictures as well.")
    parser.add_argument("--only", type=NonNegativeInt | None, default=None, help="Run this one of the runs, from 0.")
    parser.add_argument("--wandb-sweep", type=Path | None, default=None, help="Write a W&B sweep file; run nothing.")
    parser.add_argument("--slurm", type=Path | None, default=None, help="Write a SLURM array script; run nothing.")
    return parser


def _study_parser() -> OneLineParser:
    """What ``mmie study`` understands."""
    parser = OneLineParser(prog="mmie study", description="Run a study of the papers, and draw its figure.")
    commands = parser.add_subcommands()
    for name, purpose in STUDIES.items():
        study = OneLineParser(description=f"Fit and test: {purpose}. What is finished is not run again.")
        if name == "low-resource":
            study.add_argument("configs", nargs="+", help="Configurations or globs; a.yaml+b.yaml lays b over a.")
            study.add_argument("--fractions", type=str, default=FRACTIONS, help="Shares of the training instances.")
        else:
            study.add_argument("first", type=str, help="A configuration; a.yaml+b.yaml lays b over a.")
            study.add_argument("second", type=str, help="The other configuration.")
        study.add_argument("--seeds", type=str, default="3", help="How many seeds, or the seeds separated by commas.")
        study.add_argument("--set", action="append", default=[], help="key=value, for all runs.")
        study.add_argument("--out", type=Path, required=True, help="Folder for the run folders and the report.")
        study.add_argument("--jobs", type=PositiveInt, default=1, help="Runs at a time; they share the cores.")
        commands.add_subcommand(name, study, help=purpose)
    return parser


STUDIES = {
    "low-resource": "with shares of the training instances",
    "cross-task": "each task from the other's weights",
    "cross-domain": "each corpus's weights on the other corpus",
}
OWN_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "corpus": corpus_command,
    "compare": compare_command,
    "sweep": sweep_command,
    "study": study_command,
    "methods": methods_command,
    "benchmark": benchmark_command,
    "diagnose": diagnose_command,
    "ground": ground_command,
    "extract": extract_command,
    "convert": convert_command,
    "export": export_command,
    "serve": serve_command,
}
COMMANDS = {
    "fit": "train a method on a corpus",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split and write its predictions",
    "predict": "write a checkpoint's predictions for the test split",
    "benchmark": "clock training steps and take them apart",
    "corpus": "make the demo corpus; count or check any corpus, or compute its features ahead of time",
    "sweep": "fit and test many runs: configurations, settings and seeds",
    "study": "low resource, cross-task or cross-domain, with the papers' figure",
    "compare": "compare the test scores of runs, and write a report",
    "diagnose": "show why a checkpoint answers as it does",
    "ground": "cut object crops out of pictures, and write their index",
    "extract": "find entities and relations in posts of one's own",
    "convert": "turn what was extracted into CoNLL, CSV, RDF, GraphML or an HTML graph",
    "export": "write a checkpoint as a folder to pass on, or as ONNX; send it to the hub",
    "serve": "a web page and a JSON endpoint for checkpoints",
    "methods": "list the methods: papers, switches, published scores",
}


def overview() -> str:
    """All commands, with a line each."""
    lines = [f"  {name:<10}{purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(["usage: mmie COMMAND [OPTION ...]", "", *lines, "", "mmie COMMAND --help lists its options."])


def run_command(arguments: Sequence[str]) -> None:
    """Run the command that the first argument names.

    Raises:
        UsageError: There is no such command, or an option or setting is wrong.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        sys.exit(0 if arguments else 2)
    if arguments[0] not in COMMANDS:
        raise UsageError(f"unknown command '{arguments[0]}': expected one of {', '.join(COMMANDS)}")
    command, *options = complete_flags(arguments)
    if command in OWN_COMMANDS:
        OWN_COMMANDS[command](options)
    else:
        lightning_command([command, *options])


def main() -> None:
    """Run ``mmie``; what the user can mend is one line, with ``MMIE_DEBUG=1`` a traceback as well."""
    try:
        run_command(sys.argv[1:])
    except MmieError as error:
        if os.environ.get("MMIE_DEBUG"):
            raise
        print(f"mmie: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    main()
