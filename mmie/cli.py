"""The ``mmie`` command."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from rich.console import Console

from mmie.data import Corpus, MultimodalDataModule
from mmie.data.demo import render_bounds, write_demo
from mmie.data.stats import check_corpus, corpus_stats, render_report, render_stats
from mmie.methods import ExtractionModule
from mmie.methods.transfer import read_checkpoint
from mmie.reports.comparison import read_run, render_runs
from mmie.reports.methods import describe, find_listed, listed_methods, render_markdown, render_method, render_methods
from mmie.training.checkpointing import build_checkpoints, check_fits
from mmie.training.loggers import WandbSettings, build_csv_logger, build_wandb_logger, named_loggers
from mmie.training.precompute import Precompute, default_store
from mmie.training.run_folder import PredictionWriter, RunRecorder, SaveRunConfig, best_checkpoint, check_free, lies_in
from mmie.types import MmieError, Schema
from mmie.usage import OneLineParser, UsageError, usage_errors

_CHATTER = ("Tip:", "GPU available", "TPU available", "HPU available", "Loading `train_dataloader`")


_STORE_HELP = (
    "Folder where features of frozen backbones and decoded pictures are kept between epochs and runs; auto is "
    "$MMIE_CACHE/features or ~/.cache/mmie/features; null keeps nothing."
)


class MmieCLI(LightningCLI):
    """LightningCLI with a run folder and the links between data and model."""

    _checkpoint: dict[str, Any] | None = None
    _steps_kept = 0
    """Steps of the run folder's earlier fit that this one continues."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run folder, W&B, and what flows from where."""
        parser.add_argument("--run_dir", type=str, default="runs/default", help="Folder for all that the run leaves.")
        parser.add_argument("--overwrite", type=bool, default=False, help="Fit into a folder that holds a run already.")
        parser.add_argument("--wandb", type=WandbSettings | None, default=None, help="Log to Weights & Biases as well.")
        parser.add_argument("--feature_store", type=str | None, default="auto", help=_STORE_HELP)
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("model.init_args.text_encoder", "data.tokenizer")
        parser.link_arguments("data.schema", "model.init_args.schema", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning would load the checkpoint for hyperparameters, which ours keep elsewhere."""

    def before_instantiate_classes(self) -> None:
        """Look at the run folder and the checkpoint before anything is loaded."""
        settings = self.config[self.subcommand]
        folder = Path(settings.run_dir)
        if settings.ckpt_path in ("best", "last"):
            settings.ckpt_path = str(folder / f"{settings.ckpt_path}.ckpt")
        if self.subcommand == "fit":
            check_free(folder, settings.overwrite, settings.ckpt_path)
        elif settings.ckpt_path is None:
            settings.ckpt_path = str(best_checkpoint(folder))
        if settings.ckpt_path is not None:
            self._checkpoint = read_checkpoint(settings.ckpt_path)
            if self.subcommand != "fit":
                _take_labels(settings.data, self._checkpoint["mmie"]["schema"])
            self._steps_kept = self._checkpoint["global_step"] if lies_in(settings.ckpt_path, folder) else 0

    def instantiate_classes(self) -> None:
        """Build data, method and trainer; say in one line which setting does not do."""
        with usage_errors():
            super().instantiate_classes()

    def after_instantiate_classes(self) -> None:
        """Refuse a checkpoint that does not fit; Lightning loads it once more when it is needed."""
        if self._checkpoint is not None:
            check_fits(self._checkpoint, self.model)
            self._checkpoint = None

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without its own tables of scores and lists of answers: ours are in the run folder."""
        left_out = {"validate": "verbose", "test": "verbose", "predict": "return_predictions"}
        return {name: skipped | {left_out.get(name, "")} for name, skipped in LightningCLI.subcommands().items()}

    def validate(self, **kwargs: Any) -> None:
        """Score the validation split."""
        self.trainer.validate(verbose=False, **kwargs)

    def test(self, **kwargs: Any) -> None:
        """Score the test split."""
        self.trainer.test(verbose=False, **kwargs)

    def predict(self, **kwargs: Any) -> None:
        """Answer the test split."""
        self.trainer.predict(return_predictions=False, **kwargs)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer that leaves a run folder: CSV always, W&B when asked for, best and last checkpoint."""
        settings = self.config_init[self.subcommand]
        run_dir = Path(settings.run_dir)
        loggers = named_loggers(settings.trainer.logger)
        if self.subcommand == "fit":  # a later test must not wipe the fit's log
            loggers.append(build_csv_logger(run_dir, self._steps_kept))
        if settings.wandb is not None:
            loggers.append(build_wandb_logger(settings.wandb, run_dir))
        callbacks = [*_callbacks(run_dir, self.model), Precompute(_store_folder(settings.feature_store))]
        self.trainer_defaults["callbacks"] = [*callbacks, *([RichProgressBar()] if sys.stdout.isatty() else [])]
        if not sys.stdout.isatty():  # a bar that redraws itself is unreadable in a file; there is a line an epoch
            kwargs["enable_progress_bar"] = False
        return super().instantiate_trainer(logger=loggers or False, **kwargs)


def _take_labels(data: Namespace, schema: dict[str, Any]) -> None:
    """Score against the labels of the checkpoint, in their order, whatever corpus it is scored on."""
    if data.labels is None and data.task == schema["task"]:
        data.labels = list(schema["labels"])


def _callbacks(run_dir: Path, module: ExtractionModule) -> list[Callback]:
    """What writes the run folder."""
    return [*build_checkpoints(run_dir, *module.monitor), PredictionWriter(), RunRecorder(*module.monitor)]


def _store_folder(setting: str | None) -> Path | None:
    """The folder that ``--feature_store`` names."""
    return default_store() if setting == "auto" else None if setting is None else Path(setting).expanduser()


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
    logging.getLogger("lightning.fabric.utilities.seed").setLevel(logging.WARNING)
    told = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    told.addFilter(lambda record: not any(chatter in record.getMessage() for chatter in _CHATTER))
    warnings.formatwarning = lambda message, *_args, **_settings: f"warning: {message}\n"
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*module\\(s\\) in eval mode.*")  # frozen backbones are, and must be
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")
    warnings.filterwarnings("ignore", ".*The dirpath has changed.*")
    warnings.filterwarnings("ignore", ".*recommended to use `self.log\\('(val|test)/.*")  # ours are exact already


def corpus_command(arguments: Sequence[str]) -> None:
    """``mmie corpus demo``, ``stats`` and ``check``."""
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
    parser = OneLineParser(prog="mmie compare", description="Show the test scores of runs side by side.")
    parser.add_argument("runs", nargs="+", help="Run folders.")
    Console().print(render_runs([read_run(folder) for folder in parser.parse_args(list(arguments)).runs]))


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


def _corpus_parser() -> OneLineParser:
    """What ``mmie corpus`` understands."""
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
    return parser


OWN_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "corpus": corpus_command,
    "compare": compare_command,
    "methods": methods_command,
}
COMMANDS = {
    "fit": "train a method on a corpus",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split and write its predictions",
    "predict": "write a checkpoint's predictions for the test split",
    "corpus": "make the demo corpus; count or check any corpus",
    "compare": "show the test scores of runs side by side",
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
    if arguments[0] in OWN_COMMANDS:
        OWN_COMMANDS[arguments[0]](arguments[1:])
    else:
        lightning_command()


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
