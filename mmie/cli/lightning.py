"""The part of the command that trains: LightningCLI with a run folder, a store, and the links from data to model."""

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from pydoc import locate
from typing import Any

from jsonargparse import Namespace, set_parsing_settings
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from mmie.checkpoints import Checkpoint, check_fits, read_checkpoint_file
from mmie.cli.parsing import OneLineParser, UsageError, refuse_nulls, usage_errors
from mmie.data import MultimodalDataModule
from mmie.methods import ExtractionModule
from mmie.methods.base import full_name
from mmie.reports.dashboard import prediction_media
from mmie.training.checkpointing import AtomicCheckpointIO, build_checkpoints
from mmie.training.dashboard import Dashboard
from mmie.training.features.callback import (
    FeatureCacheCallback,
    default_feature_cache,
    fill_feature_caches,
)
from mmie.training.interruptions import EndTogether, ended_from_outside
from mmie.training.loggers import RunCSVLogger, named_loggers
from mmie.training.run_folder import (
    PredictionWriter,
    RunRecorder,
    SaveRunConfig,
    best_checkpoint,
    check_free,
    known_epochs,
    lies_in,
    own_checkpoint,
)
from mmie.training.seeding import EpochSeed
from mmie.training.sync_batch_norm import SyncBatchNorm
from mmie.training.wandb_logger import RunFolderWandbLogger, WandbSettings, build_wandb_logger
from mmie.types import Schema

_CHATTER = ("Tip:", "GPU available", "TPU available", "HPU available", "Loading `train_dataloader`")
_STORE_HELP = (
    "Folder where features of frozen backbones and decoded pictures are kept between epochs and runs; auto is "
    "$MMIE_CACHE/features or ~/.cache/mmie/features; null keeps nothing."
)


class MmieCLI(LightningCLI):
    """LightningCLI with a run folder and the links between data and model."""

    _content: dict[str, Any] | None = None
    """Content of the checkpoint file, which the trainer takes instead of reading the file again."""
    _checkpoint: Checkpoint | None = None
    _steps_kept = 0
    """Steps of the run folder's earlier fit that this one continues."""
    _epochs_kept: Sequence[dict[str, float]] = ()
    """What its checkpoint knows of its epochs."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run folder, W&B, and what flows from where."""
        parser.add_argument(
            "--run_dir",
            type=str,
            default="runs/default",
            help="Folder for all that the run leaves.",
        )
        parser.add_argument(
            "--overwrite",
            type=bool,
            default=False,
            help="Fit into a folder that holds a run already.",
        )
        parser.add_argument(
            "--wandb",
            type=WandbSettings | None,
            default=None,
            help="Log to Weights & Biases as well.",
        )
        parser.add_argument("--feature_store", type=str | None, default="auto", help=_STORE_HELP)
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("model.init_args.text_encoder", "data.tokenizer")
        parser.link_arguments("data.schema", "model.init_args.schema", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning would load the checkpoint for hyperparameters, which ours keep elsewhere."""

    def _set_seed(self) -> None:
        """Seed everything; say in one line that a seed is out of range."""
        with usage_errors():
            super()._set_seed()

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Say in one line which setting Lightning stumbles over though its annotation admits it."""
        synchronised = config.get("sync_batchnorm", False)
        if synchronised:
            given = config.get("plugins") or []
            config["plugins"] = [*(given if isinstance(given, list) else [given]), SyncBatchNorm()]
        try:
            trainer: Trainer = super()._instantiate_trainer(config, callbacks)
        except (TypeError, OverflowError) as error:
            raise UsageError(f"trainer: {error}") from error
        if synchronised and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
            raise UsageError(
                "trainer.sync_batchnorm is true, but torch synchronises batch norms on GPUs only"
            )
        return trainer

    def before_instantiate_classes(self) -> None:
        """Look at the run folder and the checkpoint before anything is loaded."""
        settings = self.config[self.subcommand]
        folder = Path(settings.run_dir)
        if settings.ckpt_path in ("best", "last"):
            settings.ckpt_path = own_checkpoint(folder, settings.ckpt_path)
        if self.subcommand == "fit":
            check_free(folder, settings.overwrite, settings.ckpt_path)
        elif settings.ckpt_path is None:
            settings.ckpt_path = str(best_checkpoint(folder))
        if settings.ckpt_path is not None:
            self._content = read_checkpoint_file(settings.ckpt_path)
            self._checkpoint = Checkpoint.from_content(self._content, settings.ckpt_path)
            if self.subcommand != "fit":
                _take_labels(settings.data, self._checkpoint.schema)
            if lies_in(settings.ckpt_path, folder):
                self._steps_kept = self._checkpoint.training["global_step"]
                self._epochs_kept = known_epochs(self._checkpoint.training)

    def instantiate_classes(self) -> None:
        """Build data, method and trainer; say in one line which setting does not do."""
        settings = self.config if self.subcommand is None else self.config[self.subcommand]
        refuse_nulls("data", MultimodalDataModule, settings.data)
        for where, part in (("data.corpus", settings.data.corpus), ("model", settings.model)):
            refuse_nulls(where, locate(part.class_path), part.init_args)
        with usage_errors():
            super().instantiate_classes()

    def after_instantiate_classes(self) -> None:
        """Raise if the checkpoint does not fit the method."""
        if self._checkpoint is not None:
            check_fits(self._checkpoint, full_name(type(self.model)), self.model.schema)
            self._checkpoint = None

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without its own tables of scores and lists of answers: ours are in the run folder."""
        left_out = {"validate": "verbose", "test": "verbose", "predict": "return_predictions"}
        return {
            name: skipped | {left_out.get(name, "")}
            for name, skipped in LightningCLI.subcommands().items()
        }

    def fit(self, **kwargs: Any) -> None:
        """Train on the training split."""
        with ended_from_outside(self.trainer):
            self.trainer.fit(**kwargs)

    def validate(self, **kwargs: Any) -> None:
        """Score the validation split."""
        with ended_from_outside(self.trainer):
            self.trainer.validate(verbose=False, **kwargs)

    def test(self, **kwargs: Any) -> None:
        """Score the test split."""
        with ended_from_outside(self.trainer):
            self.trainer.test(verbose=False, **kwargs)

    def predict(self, **kwargs: Any) -> None:
        """Answer the test split."""
        with ended_from_outside(self.trainer):
            self.trainer.predict(return_predictions=False, **kwargs)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer that leaves a run folder: CSV always, W&B when asked for, best and last checkpoint."""
        settings = self.config_init[self.subcommand]
        run_dir = Path(settings.run_dir)
        loggers = named_loggers(settings.trainer.logger)
        if self.subcommand == "fit":  # a later test must not wipe the fit's log
            loggers.append(RunCSVLogger(run_dir, self._steps_kept, self._epochs_kept))
        if settings.wandb is not None:
            loggers.append(self._wandb_logger(settings.wandb, run_dir))
        callbacks = [
            *_callbacks(run_dir, self.model),
            EpochSeed(self.datamodule.seed),
            EndTogether(),
        ]
        callbacks.append(FeatureCacheCallback(_store_folder(settings.feature_store)))
        self.trainer_defaults["callbacks"] = [
            *callbacks,
            *([RichProgressBar()] if sys.stdout.isatty() else []),
        ]
        if (
            not sys.stdout.isatty()
        ):  # a bar that redraws itself is unreadable in a file; there is a line an epoch
            kwargs["enable_progress_bar"] = False
        trainer = super().instantiate_trainer(logger=loggers or False, **kwargs)
        if (
            type(trainer.strategy.checkpoint_io) is TorchCheckpointIO
        ):  # unless the configuration names another one
            trainer.strategy.checkpoint_io = AtomicCheckpointIO(self._loaded_checkpoint(trainer))
        return trainer

    def _loaded_checkpoint(self, trainer: Trainer) -> dict[str, dict[str, Any]]:
        """Hand over the content of the checkpoint file; processes that are launched later read it themselves."""
        content, self._content = self._content, None
        if content is None or trainer.strategy.launcher is not None:
            return {}
        return {self.config_init[self.subcommand].ckpt_path: content}

    def _wandb_logger(self, settings: WandbSettings, run_dir: Path) -> RunFolderWandbLogger:
        """A logger that puts runs of one corpus and task together; a test goes on with the fit's W&B run."""
        group = f"{type(self.datamodule.corpus).__name__}-{self.datamodule.task}"
        fitting = self.subcommand == "fit"
        continued = not fitting or self._steps_kept > 0
        return build_wandb_logger(
            settings, run_dir, group, type(self.model).__name__, fitting, continued
        )


class PartsCLI(MmieCLI):
    """The same parts, for whoever runs them otherwise: no run folder is looked at, and none is written."""

    def before_instantiate_classes(self) -> None:
        """Nothing."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer that leaves nothing behind."""
        self.trainer_defaults["callbacks"] = [
            FeatureCacheCallback(_store_folder(self.config_init.feature_store))
        ]
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        return LightningCLI.instantiate_trainer(self, **quiet, **kwargs)


def _take_labels(data: Namespace, schema: Schema) -> None:
    """Score against the labels of the checkpoint, in their order, whatever corpus it is scored on."""
    if data.labels is None and data.task == schema.task:
        data.labels = list(schema.labels)


def _callbacks(run_dir: Path, module: ExtractionModule) -> list[Callback]:
    """What writes the run folder."""
    writers = [PredictionWriter(), RunRecorder(*module.monitor), Dashboard(prediction_media)]
    return [*build_checkpoints(run_dir, *module.monitor), *writers]


def _store_folder(setting: str | None) -> Path | None:
    """The folder that ``--feature_store`` names."""
    return (
        default_feature_cache()
        if setting == "auto"
        else None
        if setting is None
        else Path(setting).expanduser()
    )


def lightning_command(arguments: Sequence[str]) -> None:
    """``mmie fit``, ``validate``, ``test`` and ``predict``: the first argument says which."""
    _start(MmieCLI, arguments, save_config_callback=SaveRunConfig)


def build_parts(arguments: Sequence[str]) -> LightningCLI:
    """Data module, method and trainer of a configuration, as ``fit`` would build them, not run.

    Args:
        arguments: ``--config`` and whatever is overridden; no subcommand.
    """
    return _start(PartsCLI, arguments, run=False, save_config_callback=None)


def features_command(arguments: Sequence[str]) -> None:
    """``mmie corpus features``: fill the stores that fits and tests of a configuration will read.

    Raises:
        UsageError: ``feature_store`` is null.
    """
    parts = build_parts(arguments)
    folder = _store_folder(parts.config.feature_store)
    if folder is None:
        raise UsageError("feature_store is null: name the folder that is to be filled")
    fill_feature_caches(parts.model, parts.datamodule, folder, parts.trainer.strategy.root_device)
    print(
        f"all that {type(parts.model).__name__} reads of {parts.datamodule.corpus.name} is in {folder}"
    )


def _start(cli: type[MmieCLI], arguments: Sequence[str], **settings: Any) -> MmieCLI:
    """Parse, build and, unless told not to, run."""
    _quieten()
    set_parsing_settings(subclasses_enabled=[Schema])  # linked as a whole, not typed field by field
    return cli(
        ExtractionModule,
        MultimodalDataModule,
        save_config_kwargs={"save_to_log_dir": False},
        trainer_defaults={
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 20,
            "enable_model_summary": False,
        },
        seed_everything_default=1234,
        parser_class=OneLineParser,
        subclass_mode_model=True,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,  # our checkpoints carry what builds them again, in plain values
        args=list(arguments),
        **settings,
    )


def _quieten() -> None:
    """Leave out what libraries say about themselves; warnings about the user's data and run stay."""
    logging.getLogger("lightning.fabric.utilities.seed").setLevel(logging.WARNING)
    told = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    told.addFilter(lambda record: not any(chatter in record.getMessage() for chatter in _CHATTER))
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings(
        "ignore", ".*module\\(s\\) in eval mode.*"
    )  # frozen backbones are, and must be
    warnings.filterwarnings("ignore", ".*args parameter is intended to run from within Python.*")
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")
    warnings.filterwarnings("ignore", ".*The dirpath has changed.*")
    warnings.filterwarnings(
        "ignore", ".*recommended to use `self.log\\('(val|test)/.*"
    )  # ours are exact already
