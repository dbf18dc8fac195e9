"""The commands ``mmie compare``, ``diagnose``, ``certify`` and ``methods``.

Modules that import torch or Lightning are imported inside the functions, after the options and the
run folders are checked.
"""

import argparse
import json
import shlex
import warnings
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt, restricted_number_type

from mmie.cli.checkpoint_options import NO_RUN, add_checkpoint_options, chosen_checkpoint
from mmie.cli.parsing import OneLineParser, usage_errors
from mmie.cli.plugins import IMPORT_HELP
from mmie.cli.run_folders import split_run
from mmie.cli.usage import UsageError
from mmie.data import Corpus
from mmie.data.corpora.base import CorpusError
from mmie.inference.jobs.job_files import check_targets
from mmie.reports.comparison.groups import comparison_groups
from mmie.reports.corpora import check_folder, find_corpus_class
from mmie.runs import find_runs
from mmie.runs.folder import DIAGNOSIS, find_checkpoint
from mmie.runs.sweep_plan import find_sweep_plans
from mmie.training.wandb_settings import WandbSettings
from mmie.types import Split
from mmie.utils.terminal import PlainConsole, print_lines

if TYPE_CHECKING:
    from mmie.reports.diagnosis.target import DiagnosisTarget

_DIAGNOSE_FLAGS = ("--overwrite",)
"""Options of ``mmie diagnose`` that take no value."""


def compare_command(arguments: Sequence[str]) -> None:
    """Run ``mmie compare``."""
    parser = _compare_parser()
    settings = parser.instantiate(parser.parse_args(list(arguments)))
    runs, untested = find_runs(settings.runs)
    groups = comparison_groups(runs)
    plans = find_sweep_plans(settings.runs, [*(run.folder for run in runs), *untested])
    from mmie.reports.comparison.insight import explain_run
    from mmie.reports.comparison.report import scores_table, write_report

    PlainConsole().print(scores_table(groups))
    explain = partial(explain_run, count=settings.diagnose) if settings.diagnose else None
    with usage_errors():
        page, verdict = write_report(
            groups,
            untested,
            settings.out,
            settings.resamples,
            settings.posts,
            explain,
            plans,
            shlex.join(["mmie", "compare", *arguments]),
        )
    if settings.wandb is not None:
        _log_to_wandb(settings.wandb, settings.out)
    print_lines(*verdict, page)


def methods_command(arguments: Sequence[str]) -> None:
    """Run ``mmie methods``."""
    settings = _methods_parser().parse_args(list(arguments))
    from mmie.reports.method_tables import method_details, methods_markdown, methods_table
    from mmie.reports.methods import find_method_info, listed_methods

    methods = [find_method_info(name) for name in settings.names] or listed_methods()
    if settings.json:
        print(json.dumps([method.to_dict() for method in methods], indent=2, default=str))
    elif settings.markdown:
        print(methods_markdown(methods))
    elif settings.names:
        PlainConsole().print(*map(method_details, methods), sep="\n\n")
    else:
        PlainConsole().print(methods_table(methods))


def diagnose_command(arguments: Sequence[str]) -> None:
    """Run ``mmie diagnose``.

    The run's own corpus is put before the other options, so that ``--data.corpus`` changes parts of
    it.

    Raises:
        JobError: ``--out`` is the checkpoint, or a file that is no page of a diagnosis and
            ``--overwrite`` is missing.
    """
    data = _read_run_data(arguments, _DIAGNOSE_FLAGS)
    from mmie.reports.diagnosis.diagnosis import (
        diagnose_post,
        diagnose_split,
        diagnose_unprompted,
    )
    from mmie.reports.diagnosis.page import (
        default_page,
        is_diagnosis,
        render_post,
        render_split,
        write_page,
    )

    parser = _diagnose_parser()
    settings = parser.parse_args(_with_run_corpus(arguments, data))
    settings.checkpoint = str(find_checkpoint(chosen_checkpoint(settings)))
    if settings.out is None:
        settings.out = str(default_page(settings.checkpoint))
    with usage_errors():  # a page that cannot be read
        if not is_diagnosis(settings.out):
            check_targets(settings.checkpoint, [Path(settings.out)], settings.overwrite)
    _check_corpus_folder(settings)
    with usage_errors():
        chosen = parser.instantiate(settings)
        target = _load_target(chosen, data)
    unprompted = []
    if chosen.unprompted is not None:
        if chosen.post is not None:
            parser.error("leave out --post: --unprompted adds a plot of a split")
        with usage_errors():
            other = _load_target(chosen, data, chosen.unprompted)
        unprompted = diagnose_unprompted(target, other, chosen.sample)
    if chosen.post is not None:
        page = render_post(target, diagnose_post(target, chosen.post))
    else:
        page = render_split(target, *diagnose_split(target, chosen.sample), unprompted)
    with usage_errors():
        file = write_page(page, chosen.out)
    print_lines(file)


def certify_command(arguments: Sequence[str]) -> None:
    """Run ``mmie certify``."""
    data = _read_run_data(arguments)
    from mmie.cli.lightning import feature_folder
    from mmie.reports.certificate.answers import answer_lines
    from mmie.reports.certificate.certificate import certify
    from mmie.reports.certificate.page import summary_lines, write_certificate

    parser = _certify_parser()
    settings = parser.parse_args(_with_run_corpus(arguments, data))
    settings.checkpoint = str(find_checkpoint(chosen_checkpoint(settings)))
    data = {**data, "pictures": settings.pictures, "seed": settings.seed}
    _check_corpus_folder(settings)
    with usage_errors():
        chosen = parser.instantiate(settings)
        target = _load_target(chosen, data)
    certificate, records = certify(
        target,
        chosen.others,
        chosen.permutations,
        chosen.resamples,
        chosen.seed,
        feature_folder(chosen.feature_store),
    )
    with usage_errors():
        files = write_certificate(certificate, answer_lines(records), chosen.out)
    print_lines(*summary_lines(certificate), *files)


def _load_target(
    chosen: Namespace, data: dict[str, Any], checkpoint: str | None = None
) -> "DiagnosisTarget":
    """Load a checkpoint and the split that options name, and warn of what is left out.

    Args:
        chosen: The options.
        data: The ``data`` section of the run.
        checkpoint: The checkpoint, by default that of the options.
    """
    from mmie.reports.diagnosis.target import load_target
    from mmie.utils.processes import limit_threads

    settings = chosen.data
    path = checkpoint or chosen.checkpoint
    target = load_target(path, settings.corpus, data, chosen.split, settings.context_file)
    limit_threads(target.module)
    for note in target.notes:
        warnings.warn(f"{note} Name it with --data.context_file if you trust it.", stacklevel=2)
    return target


def _log_to_wandb(settings: WandbSettings, folder: Path) -> None:
    """Log a comparison that was written to a folder."""
    from mmie.reports.dashboard import log_comparison
    from mmie.training.wandb_logger import start_run, wandb_init, wandb_warns

    run = start_run(wandb_init(settings, folder, job_type="comparison"))
    with wandb_warns():
        log_comparison(run, folder)
        run.finish()


def _with_run_corpus(arguments: Sequence[str], data: dict[str, Any]) -> list[str]:
    """Put the corpus of a run's ``data`` section before the options, if the section has one.

    A class that is not imported is left out if the options name another one.

    Raises:
        CorpusError: The class is not imported, and the options name none.
    """
    if "corpus" not in data:
        return list(arguments)
    try:
        find_corpus_class(data["corpus"])
    except CorpusError as error:
        names = {argument.partition("=")[0] for argument in arguments}
        if names & {"--data.corpus", "--data.corpus.class_path"}:
            return list(arguments)
        raise CorpusError(f"{error}, or name another corpus with --data.corpus") from error
    return [f"--data.corpus={json.dumps(data['corpus'])}", *arguments]


def _check_corpus_folder(settings: Namespace) -> None:
    """Raise if the folder of the corpus is missing, before a demo corpus would be written.

    Raises:
        CorpusError: The folder is missing.
    """
    corpus = settings.data.corpus
    check_folder(corpus.class_path.rpartition(".")[2], corpus.init_args.get("root"))


def _read_run_data(arguments: Sequence[str], flags: Collection[str] = ()) -> dict[str, Any]:
    """Read the ``data`` section of the run that arguments name, empty if they ask for help.

    Args:
        arguments: Arguments of the command.
        flags: Options of the command that take no value.

    Raises:
        UsageError: No run folder and no checkpoint is named, or several run folders.
        DiagnosisError: The configuration cannot be read, or has no ``data`` section.
    """
    run, options = split_run(arguments, flags)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--checkpoint")
    parser.add_argument("--config")
    try:
        chosen, _ = parser.parse_known_args(options)
    except argparse.ArgumentError:
        # An option has no value, which the full parser reports.
        return {}
    source = run or chosen.checkpoint
    if source is None and not {"-h", "--help"}.intersection(options):
        raise UsageError(NO_RUN)
    if source is None:
        return {}
    if chosen.config is None and not Path(source).exists():
        raise UsageError(f"{source}: expected a run folder or a checkpoint, found none")
    from mmie.reports.diagnosis.target import read_data_settings

    return read_data_settings(source, chosen.config)


def _compare_parser() -> OneLineParser:
    """Build the parser of ``mmie compare``."""
    parser = OneLineParser(
        prog="mmie compare",
        description="Compare the test scores of runs, and write a report.",
        epilog=IMPORT_HELP,
    )
    parser.add_argument(
        "runs", nargs="+", help="Run folders, globs, or folders that hold run folders at any depth."
    )
    parser.add_argument(
        "--out", type=Path, default=Path("comparison"), help="Folder for HTML, Markdown and JSON."
    )
    parser.add_argument(
        "--resamples",
        type=PositiveInt,
        default=10_000,
        help="Bootstrap samples for every two methods.",
    )
    parser.add_argument(
        "--posts",
        type=NonNegativeInt,
        default=12,
        help="Largest number of posts to show on which methods differ.",
    )
    parser.add_argument(
        "--diagnose",
        type=NonNegativeInt,
        default=0,
        help="Number of test instances on which to diagnose each method.",
    )
    parser.add_argument(
        "--wandb",
        type=WandbSettings | None,
        default=None,
        help="Log the report to Weights & Biases as well.",
    )
    return parser


def _methods_parser() -> OneLineParser:
    """Build the parser of ``mmie methods``."""
    parser = OneLineParser(
        prog="mmie methods",
        description="List the methods, or describe those that are named.",
        epilog=IMPORT_HELP,
    )
    parser.add_argument(
        "names", nargs="*", help="Class names in upper or lower case, or full paths of classes."
    )
    parser.add_argument("--json", action="store_true", help="Print JSON instead of tables.")
    parser.add_argument(
        "--markdown", action="store_true", help="Print the table of the documentation as Markdown."
    )
    return parser


def _diagnose_parser() -> OneLineParser:
    """Build the parser of ``mmie diagnose``."""
    parser = OneLineParser(
        prog="mmie diagnose",
        description="Write a page that shows why a checkpoint predicts what it predicts.",
        epilog=IMPORT_HELP,
    )
    parser.add_argument(
        "--unprompted",
        type=str | None,
        default=None,
        help="Run folder or checkpoint of the same method that was trained with prompting: false. "
        "Its classified vectors are plotted beside those of RUN.",
    )
    parser.add_argument(
        "--post",
        type=str | None,
        default=None,
        help="Id of a post to diagnose; without it, the whole split is diagnosed.",
    )
    parser.add_argument(
        "--sample",
        type=PositiveInt,
        default=500,
        help="Largest number of instances of the split, drawn at random.",
    )
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help=f"Page to write, by default {DIAGNOSIS} in the run folder of the checkpoint, or in "
        "the working directory if the checkpoint lies in no run folder.",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="Replace an existing file that is no page of mmie diagnose.",
    )
    _add_target_options(parser)
    return parser


def _certify_parser() -> OneLineParser:
    """Build the parser of ``mmie certify``."""
    from mmie.cli.lightning import STORE_HELP

    parser = OneLineParser(
        prog="mmie certify",
        description="Test and measure how much of a checkpoint's score needs the right pictures.",
        epilog=IMPORT_HELP,
    )
    parser.add_argument(
        "--others",
        type=restricted_number_type(None, int, (">=", 2)),
        default=19,
        help="Least number of pictures of other posts that each post is tried with.",
    )
    parser.add_argument(
        "--permutations",
        type=PositiveInt,
        default=9999,
        help="Assignments of pictures to posts that are compared with the right one.",
    )
    parser.add_argument(
        "--resamples", type=PositiveInt, default=10_000, help="Bootstrap samples of posts."
    )
    parser.add_argument(
        "--pictures",
        type=Literal["right", "shuffled"],
        default="right",
        help="Shuffled pictures in the role of the right ones, of which no use may be found, check "
        "the test itself.",
    )
    parser.add_argument(
        "--seed", type=NonNegativeInt, default=1234, help="Seed of everything random."
    )
    parser.add_argument("--feature_store", type=str | None, default="auto", help=STORE_HELP)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("certificate"),
        help="Folder for Markdown, JSON and the answers.",
    )
    _add_target_options(parser)
    return parser


def _add_target_options(parser: OneLineParser) -> None:
    """Add the options that name a checkpoint, a split and a corpus."""
    add_checkpoint_options(parser)
    parser.add_argument("--split", type=Split, default="test", help="Split to read.")
    parser.add_argument(
        "--config",
        type=str | None,
        default=None,
        help="Configuration that names the corpus, by default that of the run.",
    )
    parser.add_subclass_arguments(
        Corpus, "data.corpus", required=True, help="Corpus to use instead of the run's own."
    )
    parser.add_argument(
        "--data.context_file",
        type=str | None,
        default=None,
        help="Context file to use instead of the run's own, which is read only inside the folder "
        "of the corpus.",
    )
