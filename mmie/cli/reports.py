"""``mmie compare``, ``diagnose`` and ``methods``: what runs and methods are worth, and why."""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jsonargparse.typing import NonNegativeInt, PositiveInt
from rich.console import Console

from mmie.cli.parsing import OneLineParser, usage_errors
from mmie.data import Corpus
from mmie.reports.comparison.groups import comparison_groups
from mmie.reports.comparison.insight import explain_run
from mmie.reports.comparison.report import render_scores, write_report
from mmie.reports.dashboard import log_comparison
from mmie.reports.diagnosis.diagnosis import (
    diagnose_post,
    diagnose_split,
    load_target,
    read_data_settings,
)
from mmie.reports.diagnosis.page import render_post, render_split, write_page
from mmie.reports.methods import (
    describe,
    find_listed,
    listed_methods,
    render_markdown,
    render_method,
    render_methods,
)
from mmie.runs import find_runs
from mmie.training.wandb_logger import WandbSettings, start_run, wandb_init, wandb_warns
from mmie.types import Split


def compare_command(arguments: Sequence[str]) -> None:
    """``mmie compare``."""
    parser = OneLineParser(
        prog="mmie compare", description="Compare the test scores of runs; write a report."
    )
    parser.add_argument(
        "runs", nargs="+", help="Run folders, globs, or folders that hold run folders at any depth."
    )
    parser.add_argument(
        "--out", type=Path, default=Path("comparison"), help="Folder for HTML, Markdown and JSON."
    )
    parser.add_argument(
        "--resamples", type=PositiveInt, default=10_000, help="Draws for each pair of methods."
    )
    parser.add_argument(
        "--posts", type=NonNegativeInt, default=12, help="Posts in dispute to show at most."
    )
    parser.add_argument(
        "--diagnose",
        type=NonNegativeInt,
        default=0,
        help="Test instances on which to look into each method's views.",
    )
    parser.add_argument(
        "--wandb",
        type=WandbSettings | None,
        default=None,
        help="Log it to Weights & Biases as well.",
    )
    settings = parser.instantiate(parser.parse_args(list(arguments)))
    runs, untested = find_runs(settings.runs)
    entered = comparison_groups(runs)
    Console().print(render_scores(entered))
    with usage_errors():  # a folder that cannot be written
        explain = partial(explain_run, count=settings.diagnose) if settings.diagnose else None
        page = write_report(
            entered, untested, settings.out, settings.resamples, settings.posts, explain
        )
    if settings.wandb is not None:
        _log_to_wandb(settings.wandb, settings.out)
    print(page)


def _log_to_wandb(settings: WandbSettings, folder: Path) -> None:
    """Log a comparison that was written to a folder."""
    run = start_run(wandb_init(settings, folder, job_type="comparison"))
    with wandb_warns():
        log_comparison(run, folder)
        run.finish()


def methods_command(arguments: Sequence[str]) -> None:
    """``mmie methods``."""
    parser = OneLineParser(
        prog="mmie methods", description="List the methods, or tell all about those that are named."
    )
    parser.add_argument(
        "names", nargs="*", help="Class names, in whatever case, or full paths of classes."
    )
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
        target = load_target(chosen.checkpoint, chosen.data.corpus, data, chosen.split)
    if chosen.post is not None:
        page = render_post(target, diagnose_post(target, chosen.post))
    else:
        page = render_split(target, *diagnose_split(target, chosen.sample))
    print(write_page(page, chosen.out))


def _diagnose_parser() -> OneLineParser:
    """What ``mmie diagnose`` understands."""
    parser = OneLineParser(
        prog="mmie diagnose", description="Show why a checkpoint answers as it does, as a page."
    )
    parser.add_argument("--checkpoint", type=str, required=True, help="Checkpoint of a run.")
    parser.add_argument(
        "--post", type=str | None, default=None, help="Id of a post; without one, a whole split."
    )
    parser.add_argument("--split", type=Split, default="test", help="Split to look at.")
    parser.add_argument(
        "--sample",
        type=PositiveInt,
        default=500,
        help="Most instances of a split, drawn at random.",
    )
    parser.add_argument("--out", type=str, default="diagnosis.html", help="Page to write.")
    parser.add_argument(
        "--config",
        type=str | None,
        default=None,
        help="Configuration that names the corpus; by default the run's own.",
    )
    parser.add_subclass_arguments(
        Corpus, "data.corpus", required=True, help="Another corpus than the run's."
    )
    return parser
