"""The ``mmie`` command."""

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import set_parsing_settings
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger
from rich.console import Console

from mmie.data import Corpus, MultimodalDataModule
from mmie.data.demo import render_bounds, write_demo
from mmie.data.stats import check_corpus, corpus_stats, render_report, render_stats
from mmie.methods import ExtractionModule
from mmie.reports.comparison import read_run, render_runs
from mmie.training.loggers import WandbSettings, build_wandb_logger
from mmie.training.run_folder import PredictionWriter, RunRecorder, SaveRunConfig, best_checkpoint, check_free
from mmie.types import MmieError, Schema


class OneLineParser(LightningArgumentParser):
    """A parser that answers a wrong option with one line."""

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Say what is wrong and leave with status 2."""
        fail(" ".join(message.split()), status=2)


class MmieCLI(LightningCLI):
    """LightningCLI with a run folder and the links between data and model."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run folder, W&B, and what flows from where."""
        parser.add_argument("--run_dir", type=str, default="runs/default", help="Folder for all that the run leaves.")
        parser.add_argument("--overwrite", type=bool, default=False, help="Fit into a folder that holds a run already.")
        parser.add_argument("--wandb", type=WandbSettings | None, default=None, help="Log to Weights & Biases as well.")
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("model.init_args.text_encoder", "data.tokenizer")
        parser.link_arguments("data.schema", "model.init_args.schema", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Look at the run folder before anything is loaded."""
        settings = self.config[self.subcommand]
        if self.subcommand == "fit":
            if settings.ckpt_path is None:
                check_free(Path(settings.run_dir), settings.overwrite)
        elif settings.ckpt_path is None:
            settings.ckpt_path = str(best_checkpoint(Path(settings.run_dir)))

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without its own tables of scores: ours says where everything lies as well."""
        commands = LightningCLI.subcommands()
        return {**commands, "validate": {*commands["validate"], "verbose"}, "test": {*commands["test"], "verbose"}}

    def validate(self, **kwargs: Any) -> None:
        """Score the validation split."""
        self.trainer.validate(verbose=False, **kwargs)

    def test(self, **kwargs: Any) -> None:
        """Score the test split."""
        self.trainer.test(verbose=False, **kwargs)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer that leaves a run folder: CSV always, W&B when asked for, best and last checkpoint."""
        settings = self.config_init[self.subcommand]
        run_dir = Path(settings.run_dir)
        loggers = _configured(settings.trainer.logger)
        if self.subcommand == "fit":  # a later test must not wipe the fit's log
            loggers.append(CSVLogger(run_dir, name="", version=""))
        if settings.wandb is not None:
            loggers.append(build_wandb_logger(settings.wandb, run_dir))
        self.trainer_defaults["callbacks"] = _callbacks(run_dir, sys.stdout.isatty())
        if not sys.stdout.isatty():  # a bar that redraws itself is unreadable in a file; there is a line an epoch
            kwargs["enable_progress_bar"] = False
        return super().instantiate_trainer(logger=loggers or False, **kwargs)


def _configured(loggers: Logger | Iterable[Logger] | bool | None) -> list[Logger]:
    """Loggers that the configuration names beside ours."""
    if isinstance(loggers, Logger):
        return [loggers]
    return [] if loggers is None or isinstance(loggers, bool) else list(loggers)


def _callbacks(run_dir: Path, interactive: bool) -> list[Callback]:
    """What every run has."""
    checkpoint = ModelCheckpoint(
        run_dir, "best", monitor="val/f1", mode="max", save_last=True, enable_version_counter=False
    )
    callbacks = [checkpoint, PredictionWriter(), RunRecorder()]
    return [*callbacks, RichProgressBar()] if interactive else callbacks


def lightning_command() -> None:
    """``mmie fit``, ``validate``, ``test`` and ``predict``."""
    _quieten()
    set_parsing_settings(subclasses_enabled=[Schema])  # linked as a whole, not typed field by field
    MmieCLI(
        ExtractionModule,
        MultimodalDataModule,
        save_config_callback=SaveRunConfig,
        save_config_kwargs={"save_to_log_dir": False},
        trainer_defaults={"num_sanity_val_steps": 0, "log_every_n_steps": 20, "enable_model_summary": False},
        seed_everything_default=1234,
        parser_class=OneLineParser,
        subclass_mode_model=True,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,  # our checkpoints carry what builds them again, in plain values
    )


def _quieten() -> None:
    """Leave out what libraries say about themselves; warnings about the user's data and run stay."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "Tip:" not in record.msg)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*module\\(s\\) in eval mode.*")  # frozen backbones are, and must be
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")


def corpus_command(arguments: Sequence[str]) -> None:
    """``mmie corpus demo``, ``stats`` and ``check``."""
    parser = OneLineParser(prog="mmie corpus", description="Make the demo corpus; count or check any corpus.")
    commands = parser.add_subcommands()
    demo = OneLineParser(description="Write the demo corpus and print the best score that text alone can reach on it.")
    demo.add_function_arguments(write_demo)
    commands.add_subcommand("demo", demo, help="write the demo corpus")
    for name, purpose in (("stats", "count posts, entities, relations and pictures"), ("check", "find what is broken")):
        command = OneLineParser(description=f"For any corpus: {purpose}.")
        command.add_subclass_arguments(Corpus, "corpus", required=True, help="E.g. MNRE --corpus.root data/mnre")
        command.add_argument("--json", action="store_true", help="Print JSON in place of a table.")
        commands.add_subcommand(name, command, help=purpose)
    settings = parser.parse_args(list(arguments))
    chosen = parser.instantiate_classes(settings)[settings.subcommand]
    if settings.subcommand == "demo":
        Console().print(render_bounds(write_demo(**chosen.as_dict())))
    elif settings.subcommand == "stats":
        stats = corpus_stats(chosen.corpus)
        Console().print(render_stats(stats)) if not chosen.json else print(json.dumps(stats, indent=2))
    else:
        chosen.corpus.strict = False  # list every malformed line, not only the first
        report = check_corpus(chosen.corpus)
        Console().print(render_report(report)) if not chosen.json else print(json.dumps(report.to_dict(), indent=2))
        sys.exit(0 if report.ok else 1)


def compare_command(arguments: Sequence[str]) -> None:
    """``mmie compare``."""
    parser = OneLineParser(prog="mmie compare", description="Show the test scores of runs side by side.")
    parser.add_argument("runs", nargs="+", help="Run folders.")
    Console().print(render_runs([read_run(folder) for folder in parser.parse_args(list(arguments)).runs]))


def fail(message: str, status: int = 1) -> NoReturn:
    """Leave with one line."""
    print(f"mmie: {message}", file=sys.stderr)
    sys.exit(status)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"corpus": corpus_command, "compare": compare_command}
LIGHTNING = {
    "fit": "train a method on a corpus",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split and write its predictions",
    "predict": "write a checkpoint's predictions",
}


def main() -> None:
    """Run the command that the first argument names."""
    arguments = sys.argv[1:]
    try:
        if arguments and arguments[0] in COMMANDS:
            COMMANDS[arguments[0]](arguments[1:])
        else:
            lightning_command()
    except MmieError as error:
        fail(str(error))
