"""``mmie fit``, ``validate``, ``test`` and ``predict``: LightningCLI with a run folder."""

import logging
import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from pydoc import locate
from typing import Any

import yaml
from jsonargparse import Namespace, set_parsing_settings
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_warn

from mmie.checkpoints import Checkpoint, check_fits, read_checkpoint_file
from mmie.checkpoints.compatibility import check_encoder, describe_changed_splits
from mmie.cli.parsing import OneLineParser, UsageError, refuse_nulls, usage_errors
from mmie.data import MultimodalDataModule
from mmie.data.datamodule import STAGES
from mmie.methods import ExtractionModule
from mmie.methods.base import full_name
from mmie.methods.loading import import_methods, load_weights
from mmie.reports.dashboard import prediction_media
from mmie.runs.folder import (
    CONFIG,
    best_checkpoint,
    check_free,
    find_checkpoint,
    lies_in,
    own_checkpoint,
)
from mmie.runs.metrics import read_config, read_metrics
from mmie.runs.picture_tests import picture_suffix
from mmie.runs.settings import (
    SETTINGS,
    WITHOUT_EFFECT,
    describe_differences,
    flatten_settings,
    setting_differences,
)
from mmie.training.checkpointing import AtomicCheckpointIO, build_checkpoints
from mmie.training.config_writer import SaveRunConfig
from mmie.training.dashboard import Dashboard
from mmie.training.features.callback import (
    FeatureCacheCallback,
    default_feature_cache,
    fill_feature_caches,
)
from mmie.training.finite import StopAtNotFinite
from mmie.training.interruptions import EndTogether, ended_from_outside
from mmie.training.loggers import RunCSVLogger, named_loggers
from mmie.training.prediction_writer import PredictionWriter
from mmie.training.progress_bar import RunProgressBar
from mmie.training.recorder import RunRecorder, training_progress
from mmie.training.seeding import EpochSeed
from mmie.training.sync_batch_norm import SyncBatchNorm
from mmie.training.trackers import (
    MLflowSettings,
    RunMLflowLogger,
    TensorBoardSettings,
    build_tensorboard_logger,
    read_mlflow_id,
    section_prefixes,
)
from mmie.training.wandb_logger import RunFolderWandbLogger, build_wandb_logger
from mmie.training.wandb_settings import WandbSettings
from mmie.types import Schema
from mmie.utils.locks import folder_lock
from mmie.utils.processes import is_first_process, limit_threads
from mmie.utils.terminal import print_lines
from mmie.utils.text import first_line

_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
"""Precisions of the trainer that the methods are built and tested for."""
_HIDDEN_LOG_LINES = (
    "Tip:",
    "GPU available",
    "TPU available",
    "HPU available",
    "Loading `train_dataloader`",
    "Detected KeyboardInterrupt",
    "Restoring states from",
    "Loaded model weights from",
    "stopped: `max_epochs",  # RunRecorder says which epoch was best
)
_HIDDEN_WARNINGS = (
    ".*does not have many workers.*",
    ".*module\\(s\\) in eval mode.*",  # frozen backbones are in eval mode on purpose
    ".*args parameter is intended to run from within Python.*",
    ".*LeafSpec.*",
    ".*exists and is not empty.*",
    ".*The dirpath has changed.*",
    ".*recommended to use `self.log\\('(val|test)/.*",  # these scores are exact under DDP already
)
STORE_HELP = (
    "Folder where features of frozen backbones and decoded pictures are kept between epochs and "
    "runs; auto is $MMIE_CACHE/features or ~/.cache/mmie/features; off or null keeps nothing."
)


class LightningParser(OneLineParser, LightningArgumentParser):
    """Parser of the options of Lightning's classes that reports a wrong one in one line."""


class MmieCLI(LightningCLI):
    """LightningCLI with a run folder and the links between data and model."""

    _content: dict[str, Any] | None = None
    """Content of the checkpoint file, which the trainer takes instead of reading the file again."""
    _checkpoint: Checkpoint | None = None
    _previous_steps = 0
    """Steps of the interrupted fit in the run folder that this one continues."""
    _previous_epochs: Sequence[dict[str, float]] = ()
    """Epochs that the checkpoint of that fit records."""
    _named: Sequence[str] = ()
    """Subcommand that the command line names, if any."""
    _command = ""
    """Command line, for the record of the run."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        # benchmark and corpus features pass options alone
        self._named = [name for name in settings["args"][:1] if not name.startswith("-")]
        with ExitStack() as self._locks:
            super().__init__(*args, **settings)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of run folder, logs and feature cache, and link data and model."""
        parser.add_argument(
            "--run_dir", type=str, default="runs/default", help="Folder for all files of the run."
        )
        parser.add_argument(
            "--overwrite", type=bool, default=False, help="Overwrite another fit in the folder."
        )
        parser.add_argument(
            "--wandb", type=WandbSettings | None, default=None, help="Log to Weights & Biases too."
        )
        parser.add_argument(
            "--tensorboard",
            type=TensorBoardSettings | None,
            default=None,
            help="Write event files for TensorBoard too.",
        )
        parser.add_argument(
            "--mlflow", type=MLflowSettings | None, default=None, help="Log to MLflow too."
        )
        parser.add_argument("--feature_store", type=str | None, default="auto", help=STORE_HELP)
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("model.init_args.text_encoder", "data.tokenizer")
        parser.link_arguments("data.schema", "model.init_args.schema", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line, and keep it for the record of the run."""
        self._command = shlex.join(["mmie", *args])
        super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would load hyperparameters, which this package keeps elsewhere."""

    @usage_errors()
    def _set_seed(self) -> None:
        """Seed all random numbers. A seed out of range is reported in one line."""
        super()._set_seed()

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Build the trainer and report invalid settings in one line.

        Raises:
            UsageError: Lightning refuses a setting that its annotation admits.
        """
        synchronised = config.get("sync_batchnorm", False)
        if synchronised:
            plugins = config.get("plugins") or []
            plugins = plugins if isinstance(plugins, list) else [plugins]
            config["plugins"] = [*plugins, SyncBatchNorm()]
        try:
            trainer: Trainer = super()._instantiate_trainer(config, callbacks)
        except (TypeError, OverflowError, ModuleNotFoundError) as error:
            raise UsageError(f"trainer: {error}") from error
        if trainer.precision not in _PRECISIONS:
            expected = ", ".join(_PRECISIONS)
            raise UsageError(
                f"trainer.precision is {trainer.precision}: expected one of {expected}"
            )
        if config.get("overfit_batches"):
            raise UsageError(
                "trainer.overfit_batches replaces the sampler that makes the batches: give a small "
                "data.train_fraction, which takes the same instances in every epoch"
            )
        if synchronised and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
            raise UsageError(
                "trainer.sync_batchnorm is true, but torch synchronises batch norms on GPUs only"
            )
        return trainer

    def before_instantiate_classes(self) -> None:
        """Lock and check the run folder and read the checkpoint before anything is built.

        Raises:
            LockError: Another process writes to the run folder.
        """
        settings = self.config[self.subcommand]
        folder = Path(settings.run_dir)
        self._check_folder(settings, folder)
        if is_first_process() and not settings.trainer.fast_dev_run:
            self._locks.enter_context(folder_lock(folder))
            self._check_folder(settings, folder)  # another run may have ended there in between
        if settings.ckpt_path is not None:
            self._read_checkpoint(settings, folder)

    def _check_folder(self, settings: Namespace, folder: Path) -> None:
        """Check the run folder, and find the checkpoint that is tested or continued."""
        if settings.ckpt_path in ("best", "last"):
            settings.ckpt_path = own_checkpoint(folder, settings.ckpt_path)
        if self.subcommand == "fit":
            check_free(folder, settings.overwrite, settings.ckpt_path)
            return
        read_metrics(folder)  # a damaged record is reported before anything is computed
        if settings.ckpt_path is None:
            settings.ckpt_path = str(best_checkpoint(folder))
        settings.ckpt_path = str(find_checkpoint(settings.ckpt_path))

    def _read_checkpoint(self, settings: Namespace, folder: Path) -> None:
        """Read the checkpoint that is tested or continued.

        Args:
            settings: Settings of the subcommand; a test takes the checkpoint's labels.
            folder: The run folder.
        """
        self._content = read_checkpoint_file(settings.ckpt_path)
        self._checkpoint = Checkpoint.from_content(self._content, settings.ckpt_path)
        schema, data = self._checkpoint.schema, settings.data
        if self.subcommand != "fit" and data.labels is None and data.task == schema.task:
            data.labels = list(schema.labels)
        if self.subcommand == "fit":
            steps, epochs = training_progress(self._checkpoint)
            if lies_in(settings.ckpt_path, folder):
                self._previous_steps, self._previous_epochs = steps, epochs
            self._compare_settings(Path(settings.ckpt_path).parent)

    def _compare_settings(self, folder: Path) -> None:
        """Print how the settings of a continued fit differ from those of the fit so far.

        Args:
            folder: Folder of the checkpoint that is continued.

        Raises:
            UsageError: A setting differs that cannot take effect.
        """
        previous = read_metrics(folder).get(SETTINGS)
        if previous is None and (folder / CONFIG).exists():
            previous = flatten_settings(read_config(folder))
        text = self._parser(self.subcommand).dump(self.config[self.subcommand], skip_unset=False)
        differences = setting_differences(previous or {}, flatten_settings(yaml.safe_load(text)))
        refused = {name: differences[name] for name in WITHOUT_EFFECT if name in differences}
        if refused:
            raise UsageError(
                f"a continued fit cannot change {describe_differences(refused)}: leave it as it "
                "was, or begin another fit with --model.init_args.init_from"
            )
        if differences and is_first_process():
            print_lines(
                f"other settings than in the fit so far: {describe_differences(differences)}"
            )

    def instantiate_classes(self) -> None:
        """Build data, method and trainer. An invalid setting is reported in one line."""
        settings = self.config if self.subcommand is None else self.config[self.subcommand]
        refuse_nulls("data", MultimodalDataModule, settings.data)
        for name, part in (("data.corpus", settings.data.corpus), ("model", settings.model)):
            refuse_nulls(name, locate(part.class_path), part.init_args)
        with usage_errors():
            super().instantiate_classes()

    def after_instantiate_classes(self) -> None:
        """Limit the threads, raise if the checkpoint does not fit, and warn of another corpus."""
        limit_threads(self.model)
        if self._checkpoint is None:
            return
        checkpoint, self._checkpoint = self._checkpoint, None
        check_fits(checkpoint, full_name(type(self.model)), self.model.schema)
        check_encoder(checkpoint, self.model.text.config.to_dict())
        load_weights(self.model, checkpoint)  # Lightning would name a missing one in a traceback
        splits = STAGES[str(self.subcommand)]
        changed = describe_changed_splits(checkpoint, self.datamodule.digests, splits)
        if changed:
            rank_zero_warn(changed)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # a static method
        """Return Lightning's subcommands and, for each, the options that are not offered.

        If the command line names a subcommand, it is the only one: building the parsers of the
        others takes longer than parsing. Lightning's tables of scores and lists of predictions are
        left out: the run folder has them.
        """
        left_out: dict[str, set[str]] = {
            "fit": set(),
            "validate": {"verbose"},
            "test": {"verbose"},
            "predict": {"return_predictions"},
        }
        subcommands: dict[str, set[str]] = LightningCLI.subcommands()
        return {name: subcommands[name] | left_out[name] for name in self._named or left_out}

    def fit(self, **kwargs: Any) -> None:
        """Train on the training split."""
        self._refuse_zero("max_epochs", "max_steps", "limit_train_batches")
        with ended_from_outside(self.trainer):
            try:
                self.trainer.fit(**kwargs)
            except MisconfigurationException as error:  # fewer epochs than the checkpoint has
                raise UsageError(f"trainer: {first_line(error)}") from error

    def validate(self, **kwargs: Any) -> None:
        """Score the validation split."""
        self._refuse_zero("limit_val_batches")
        with ended_from_outside(self.trainer):
            self.trainer.validate(verbose=False, **kwargs)

    def test(self, **kwargs: Any) -> None:
        """Score the test split."""
        self._refuse_zero("limit_test_batches")
        with ended_from_outside(self.trainer):
            self.trainer.test(verbose=False, **kwargs)

    def predict(self, **kwargs: Any) -> None:
        """Write predictions for the test split."""
        self._refuse_zero("limit_predict_batches")
        with ended_from_outside(self.trainer):
            self.trainer.predict(return_predictions=False, **kwargs)

    def _refuse_zero(self, *names: str) -> None:
        """Raise if a setting of the trainer leaves nothing to do.

        Raises:
            UsageError: A setting is 0.
        """
        for name in names:
            if getattr(self.trainer, name) == 0:
                raise UsageError(f"trainer.{name} is 0: nothing is left to {self.subcommand}")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build a trainer that writes a run folder.

        It logs CSV always and W&B when asked for, and writes the best and the last checkpoint.
        """
        settings = self.config_init[self.subcommand]
        run_dir = Path(settings.run_dir)
        monitor, mode = self.model.monitor
        predictions = PredictionWriter()
        callbacks: list[Callback] = [
            *build_checkpoints(run_dir, monitor, mode),
            predictions,
            RunRecorder(monitor, mode, predictions, self._command),
            StopAtNotFinite(),
            Dashboard(prediction_media),
            EpochSeed(self.datamodule.seed),
            EndTogether(),
            FeatureCacheCallback(feature_folder(settings.feature_store)),
        ]
        if sys.stdout.isatty():
            callbacks.insert(0, RunProgressBar(monitor))  # it ends before RunRecorder prints
        else:  # a redrawn bar is unreadable in a file: RunRecorder prints a line an epoch
            kwargs["enable_progress_bar"] = False
        self.trainer_defaults["callbacks"] = callbacks
        loggers = self._loggers(settings, run_dir)
        trainer = super().instantiate_trainer(logger=loggers or False, **kwargs)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # none is configured
            loaded = self._loaded_checkpoint(trainer)
            trainer.strategy.checkpoint_io = AtomicCheckpointIO(loaded, run_dir)
        return trainer

    def _loggers(self, settings: Namespace, run_dir: Path) -> list[Any]:
        """Build the configured loggers, the CSV log of a fit, and others on request."""
        loggers = named_loggers(settings.trainer.logger)
        if self.subcommand == "fit":  # a later test must not overwrite the fit's log
            csv_logger = RunCSVLogger(
                run_dir, steps=self._previous_steps, epochs=self._previous_epochs
            )
            loggers.append(csv_logger)
        if settings.wandb is not None:
            loggers.append(self._wandb_logger(settings.wandb, run_dir))
        return [*loggers, *self._trackers(settings, run_dir)]

    def _trackers(self, settings: Namespace, run_dir: Path) -> list[Logger]:
        """Build the loggers of TensorBoard and MLflow on request.

        A test continues the MLflow run of its fit.
        """
        fitting = self.subcommand == "fit"
        sections = section_prefixes(fitting, picture_suffix(run_dir, self.datamodule.pictures))
        trackers: list[Logger] = []
        if settings.tensorboard is not None:
            trackers.append(build_tensorboard_logger(settings.tensorboard, run_dir, sections))
        if settings.mlflow is not None:
            is_continued = not fitting or self._previous_steps > 0
            run_id = read_mlflow_id(run_dir) if is_continued else None
            method = type(self.model).__name__
            trackers.append(RunMLflowLogger(settings.mlflow, run_dir, method, run_id, sections))
        return trackers

    def _loaded_checkpoint(self, trainer: Trainer) -> dict[str, dict[str, Any]]:
        """Return the content of the checkpoint file by its path.

        It is empty where processes are launched later, which read the file themselves.
        """
        content, self._content = self._content, None
        if content is None or trainer.strategy.launcher is not None:
            return {}
        return {self.config_init[self.subcommand].ckpt_path: content}

    def _wandb_logger(self, settings: WandbSettings, run_dir: Path) -> RunFolderWandbLogger:
        """Build a W&B logger that groups runs by corpus and task.

        A test continues the W&B run of its fit.
        """
        fitting = self.subcommand == "fit"
        return build_wandb_logger(
            settings,
            run_dir,
            group=f"{type(self.datamodule.corpus).__name__}-{self.datamodule.task}",
            method=type(self.model).__name__,
            fitting=fitting,
            continued=not fitting or self._previous_steps > 0,
        )


class PartsCLI(MmieCLI):
    """Data, method and trainer of a configuration, for callers that run them in their own way.

    No run folder is checked, and none is written.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a checkpoint as well, which are null in the configuration of a run."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--ckpt_path", type=str | None, default=None, help="Has to be null.")
        parser.add_argument("--weights_only", type=bool | None, default=None, help="Is not used.")

    def before_instantiate_classes(self) -> None:
        """Refuse a checkpoint. There is no run folder to check.

        Raises:
            UsageError: A checkpoint is named.
        """
        if self.config.ckpt_path is not None:
            raise UsageError(f"ckpt_path is {self.config.ckpt_path}: no checkpoint is read here")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build a trainer that writes nothing."""
        cache = FeatureCacheCallback(feature_folder(self.config_init.feature_store))
        self.trainer_defaults["callbacks"] = [cache]
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        return LightningCLI.instantiate_trainer(self, **quiet, **kwargs)


class _ParsersBuilt(Exception):
    """Signal that the parsers are built, with the parsers by subcommand."""


class _ParsersCLI(MmieCLI):
    """Command line interface that ends as soon as its parsers are built."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Raise in place of parsing."""
        raise _ParsersBuilt(getattr(self, "_subcommand_parsers", {}) | {None: parser})


def lightning_parsers(run: bool) -> dict[str | None, LightningArgumentParser]:
    """Build the parsers of the command line without parsing anything.

    Args:
        run: Whether to build those of the subcommands, by name. If not, the parser of a
            configuration without a subcommand is built, under the key None.
    """
    try:
        _start(_ParsersCLI, [], run=run, save_config_callback=None)
    except _ParsersBuilt as built:
        parsers: dict[str | None, LightningArgumentParser] = built.args[0]
        return parsers
    raise RuntimeError("LightningCLI did not ask for its arguments to be parsed")


def lightning_command(arguments: Sequence[str]) -> None:
    """Run ``mmie fit``, ``validate``, ``test`` or ``predict``, as the first argument says."""
    _start(MmieCLI, arguments, save_config_callback=SaveRunConfig)


def build_parts(arguments: Sequence[str]) -> LightningCLI:
    """Build data module, method and trainer of a configuration as ``fit`` would, without running.

    Args:
        arguments: ``--config`` and overriding options; no subcommand.
    """
    return _start(PartsCLI, arguments, run=False, save_config_callback=None)


def features_command(arguments: Sequence[str]) -> None:
    """Run ``mmie corpus features``: fill the caches that fits and tests will read.

    Raises:
        UsageError: ``feature_store`` is null.
    """
    parts = build_parts(arguments)
    folder = feature_folder(parts.config.feature_store)
    if folder is None:
        raise UsageError("feature_store is null: name the folder that is to be filled")
    device = parts.trainer.strategy.root_device
    fill_feature_caches(parts.model, parts.datamodule, folder, device)
    method, corpus = type(parts.model).__name__, parts.datamodule.corpus.name
    print_lines(f"all that {method} reads of {corpus} is in {folder}")


_NO_STORE = ("off", "none", "null", "no", "false")
"""Words by which ``--feature_store`` asks for no cache; a folder so named is written ./off."""


def feature_folder(setting: str | None) -> Path | None:
    """Return the folder that ``--feature_store`` names, or None for no cache.

    Raises:
        CacheFolderUnknown: The setting is ``auto``, and the user has no home folder.
        UsageError: The setting begins with a home folder that is unknown.
    """
    if setting is None or setting.lower() in _NO_STORE:
        return None
    if setting == "auto":
        return default_feature_cache()
    try:
        return Path(setting).expanduser()
    except RuntimeError as error:
        raise UsageError(f"feature_store is '{setting}': {error}: name another folder") from error


def _start(cli: type[MmieCLI], arguments: Sequence[str], **settings: Any) -> MmieCLI:
    """Parse the arguments, build everything and, unless told otherwise, run."""
    import_methods()  # the parser offers the classes that are imported
    _hide_library_messages()
    set_parsing_settings(subclasses_enabled=[Schema])  # linked as a whole, not field by field
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
        parser_class=LightningParser,
        subclass_mode_model=True,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,  # the checkpoint type has its own way to build a method
        args=list(arguments),
        **settings,
    )


def _hide_library_messages() -> None:
    """Hide what libraries report about themselves. Warnings about data and run stay."""
    logging.getLogger("lightning.fabric.utilities.seed").setLevel(logging.WARNING)
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(_is_about_the_run)
    for pattern in _HIDDEN_WARNINGS:
        warnings.filterwarnings("ignore", pattern)


def _is_about_the_run(record: logging.LogRecord) -> bool:
    """Tell whether a log line is about the run, not about the library."""
    message = record.getMessage()
    return not any(line in message for line in _HIDDEN_LOG_LINES)
