"""Reading of run folders: what was run, and how well it did."""

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmie.runs.facts import (
    CORPUS_KEY,
    ENCODERS_KEY,
    RUN,
    SPLIT_DIGEST,
    Circumstances,
    belong_together,
    read_circumstances,
)
from mmie.runs.folder import CONFIG, METRICS, RunError, run_folder_of
from mmie.runs.metrics import (
    CORPUS_NOTE,
    COUNT,
    DIGEST,
    INSTANCES,
    is_partial,
    read_config,
    read_metrics,
    with_prefix,
)
from mmie.runs.picture_tests import PICTURE_TESTS, RIGHT_PICTURES
from mmie.runs.settings import SETTINGS, changed_settings, flatten_settings
from mmie.types import Task
from mmie.utils.text import describe_os_error

_MACHINE_SETTINGS = (
    "data.corpus.",
    "data.num_workers",
    "data.pin_memory",
    "data.seed",
    "data.labels",
    "data.max_pixels",
)
"""Settings in which runs of one system may differ: they name machines or data."""
_TRAINER_SETTINGS = (
    "max_epochs",
    "max_steps",
    "precision",
    "limit_train_batches",
    "limit_val_batches",
    "accumulate_grad_batches",
    "gradient_clip_val",
)
"""Settings of the trainer in which runs of one system are equal."""
_MAX_LISTED = 5
"""Most edited settings that a note names."""


class NotTested(RunError):
    """A folder that holds no run, or one that was not tested yet."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Cost and course of a training.

    Attributes:
        parameters: Number of all parameters of the method.
        trained: Number of those that training changes.
        peak_memory_gib: Largest memory of the process, in GiB.
        peak_gpu_memory_gib: Largest memory of the GPU, in GiB; None without one.
        samples_per_second: Training instances per second of training, validation left out; None if
            not recorded.
        minutes_to_best: From the start to the end of the best epoch, validation included.
        curve: Validation F1 of each epoch, 0 to 1; None for an epoch without validation.
    """

    parameters: int
    trained: int
    peak_memory_gib: float
    peak_gpu_memory_gib: float | None
    samples_per_second: float | None
    minutes_to_best: float
    curve: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class RunStart:
    """Fit whose weights another fit started from.

    Attributes:
        class_path: Full name of the method's class.
        corpus: Class name of the corpus.
        settings: Its settings, as in `Run.settings`.
    """

    class_path: str
    corpus: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One tested run.

    Attributes:
        folder: Its run folder.
        method: Class name of the method.
        class_path: Full name of the method's class.
        corpus: Class name of the corpus that was tested on.
        corpus_config: ``class_path`` and ``init_args`` of that corpus.
        root: Folder of that corpus.
        task: ``ner`` or ``re``.
        scores: Scores of the main test by name, 0 to 1.
        seed: Seed of all random numbers.
        pictures: Pictures of the main test: ``right``, ``shuffled`` or ``none``.
        other_pictures: F1 of tests with other pictures, by ``shuffled`` and ``none``.
        settings: What makes the system, by dotted name: method, data, and what the trainer does.
        trained_on: Class name of the corpus of the training if it is another one; else None.
        fit: Cost and course of the training; None if the checkpoint's folder does not say.
        corpus_note: Note of the corpus that was tested on, empty if it has none.
        start: Fit that ``init_from`` names; None without one, or if its folder does not say.
        edition: Edition of the corpus that was tested on; None if the test did not record it.
        count: Number of tested instances; None if the test did not record it.
        instances: Number of instances of the test split; None if the test did not record it.
        predictions_digest: SHA-256 of the predictions; None if the test did not record it.
        checkpoint: File name of the tested checkpoint; empty if the test did not record it.
        split_digest: SHA-256 of the test split; None if the test did not record it.
        training_digest: Digest of the training and validation splits; None if the fit did not
            record it.
        encoder_digest: Digest of the pretrained encoders; None if the fit did not record it.
        notes: What does not belong together in the folder, a sentence each.
        circumstances: Versions, hardware and commands of the fit and the tests.
    """

    folder: Path
    method: str
    class_path: str
    corpus: str
    corpus_config: dict[str, Any]
    root: Path
    task: Task
    scores: dict[str, float]
    seed: int = 0
    pictures: str = RIGHT_PICTURES
    other_pictures: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    trained_on: str | None = None
    fit: Fit | None = None
    corpus_note: str = ""
    start: RunStart | None = None
    edition: str | None = None
    count: int | None = None
    instances: int | None = None
    predictions_digest: str | None = None
    checkpoint: str = ""
    split_digest: str | None = None
    training_digest: str | None = None
    encoder_digest: str | None = None
    notes: tuple[str, ...] = ()
    circumstances: Circumstances = field(default_factory=Circumstances)

    @property
    def partial_note(self) -> str:
        """Statement that a part of the test split was tested, empty if all of it was."""
        if self.count is None or self.instances is None or self.count == self.instances:
            return ""
        return (
            f"{self.folder} was tested on {self.count} of {self.instances} instances, which "
            "enters no mean: test it again, without trainer.limit_test_batches"
        )


def find_runs(names: Iterable[str | Path]) -> tuple[list[Run], list[Path]]:
    """Find the runs that folders or globs name.

    Args:
        names: Run folders, globs of them, or folders that hold run folders at any depth.

    Returns:
        The tested runs, and the folders of runs below a named folder that were not tested.

    Raises:
        RunError: Nothing is found, or a run folder that was named was not tested.
    """
    runs: dict[Path, Run] = {}
    untested: list[Path] = []
    for name in names:
        for folder in _matches(str(name)):
            if (folder / CONFIG).exists() or not folder.is_dir():
                runs.setdefault(folder.resolve(), read_run(folder))
                continue
            tested, waiting = _runs_below(folder)
            for run in tested:
                runs.setdefault(run.folder.resolve(), run)
            untested += waiting
    return list(runs.values()), untested


def read_run(folder: str | Path) -> Run:
    """Read a run from its folder.

    Raises:
        NotTested: ``config.yaml`` or the test section of ``metrics.json`` is missing, or they hold
            something else.
        RunError: A file is damaged or cannot be read.
    """
    folder = Path(folder)
    for name in (CONFIG, METRICS):
        if not os.path.lexists(folder / name):
            raise NotTested(f"{folder} holds no tested run: fit and test it first")
    try:
        return _read_run(folder)
    except RunError:
        raise
    except OSError as error:
        raise RunError(f"the run in {folder} cannot be read: {describe_os_error(error)}") from error
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise NotTested(f"{folder} holds no tested run: fit and test it first") from error


def _matches(name: str) -> list[Path]:
    """Expand a name or a glob to paths.

    Raises:
        RunError: Nothing matches.
    """
    if Path(name).exists():
        return [Path(name)]
    paths = map(Path, sorted(glob.glob(name, recursive=True)))
    folders = list(filter(Path.is_dir, paths))
    if not folders:
        raise NotTested(f"{name} holds no tested run: there is no such folder")
    return folders


def _runs_below(folder: Path) -> tuple[list[Run], list[Path]]:
    """Find the tested runs below a folder, and the folders of runs that were not tested.

    Raises:
        NotTested: No run below the folder was tested.
        RunError: A run is damaged or cannot be read.
    """
    runs: list[Run] = []
    untested: list[Path] = []
    for config in sorted(folder.rglob(CONFIG)):
        try:
            runs.append(read_run(config.parent))
        except NotTested:
            untested.append(config.parent)
    if not runs:
        raise NotTested(f"{folder} holds no tested run: fit and test it first")
    return runs, untested


def _read_run(folder: Path) -> Run:
    """Read a run. A folder that holds none raises almost any exception."""
    config = read_config(folder)
    metrics = read_metrics(folder)
    model, data, test = config["model"], config["data"], metrics["test"]
    corpus, corpus_name = data["corpus"], _class_name(data["corpus"])
    if "test/f1" not in test:
        raise KeyError("test/f1")  # a pretraining predicts nothing
    trained_in = Path(test.get("checkpoint", folder)).parent
    trained_on = None  # the folder of the checkpoint may be gone
    if (trained_in / CONFIG).exists():
        trained_on = _class_name(read_config(trained_in)["data"]["corpus"])
    fit_metrics = metrics if "fit" in metrics else read_metrics(trained_in)
    fit_section, facts = fit_metrics.get("fit"), fit_metrics.get(RUN, {})
    corpus_digests = facts.get(CORPUS_KEY, {})
    settings = _settings(config)
    pictures = test.get("pictures") or data.get("pictures") or RIGHT_PICTURES
    return Run(
        folder=folder,
        method=_class_name(model),
        class_path=_checked_string(model["class_path"]),
        corpus=corpus_name,
        corpus_config=corpus,
        root=Path(corpus["init_args"]["root"]),
        task=data["task"],
        scores=_test_scores(test),
        seed=int(config.get("seed_everything") or 0),
        pictures=_checked_string(pictures),
        other_pictures=_scores_with_other_pictures(metrics),
        settings=settings,
        trained_on=None if trained_on == corpus_name else trained_on,
        fit=_read_fit(fit_section) if fit_section else None,
        corpus_note=_checked_string(test.get(CORPUS_NOTE, "")),
        start=_read_start(settings.get("model.init_from")),
        edition=test.get("edition"),
        count=_optional_count(test, COUNT),
        instances=_optional_count(test, INSTANCES),
        predictions_digest=test.get(DIGEST),
        checkpoint=Path(test.get("checkpoint", "")).name,
        split_digest=test.get(SPLIT_DIGEST),
        training_digest=_join_digests(corpus_digests, ("train", "valid")),
        encoder_digest=_join_digests(facts.get(ENCODERS_KEY, {})),
        notes=tuple(_find_contradictions(folder, config, metrics)),
        circumstances=read_circumstances([facts, *_test_sections(metrics)]),
    )


def _test_sections(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the sections of all tests, one for each shuffling of the pictures."""
    sections = [metrics["test"]]
    for name in PICTURE_TESTS.values():
        section = metrics.get(name, {})
        sections += section.get("runs", [section])
    return sections


def _join_digests(digests: Mapping[str, str], names: Iterable[str] | None = None) -> str | None:
    """Join the first characters of digests in the order of their names, None without any."""
    chosen = [digests[name][:8] for name in sorted(names or digests) if name in digests]
    return "+".join(chosen) or None


def _find_contradictions(
    folder: Path, config: Mapping[str, Any], metrics: Mapping[str, Any]
) -> list[str]:
    """Describe what does not belong together in a run folder."""
    notes = []
    edited = []
    if SETTINGS in metrics:
        edited = changed_settings(metrics[SETTINGS], flatten_settings(config))
    if edited:
        names = ", ".join(edited[:_MAX_LISTED])
        if len(edited) > _MAX_LISTED:
            names += f" and {len(edited) - _MAX_LISTED} more"
        notes.append(
            f"{folder / CONFIG} was changed after the fit ({names}): the scores are of other "
            "settings than it says."
        )
    test = metrics["test"]
    fitted = metrics.get(RUN, {}).get(CORPUS_KEY, {}).get("test")
    if None not in (fitted, test.get(SPLIT_DIGEST)) and fitted != test[SPLIT_DIGEST]:
        notes.append(f"{folder} was tested on another test split than the one at its fit.")
    for pictures, section in PICTURE_TESTS.items():
        if section in metrics and not belong_together(metrics[section], test):
            notes.append(
                f"{folder}: the test with pictures {pictures} is of another checkpoint or other "
                "posts than the main test, and is left out; test it again."
            )
    return notes


def _read_start(checkpoint: str | None) -> RunStart | None:
    """Read the fit that a checkpoint comes from, None if its folder has no configuration."""
    if checkpoint is None or not (run_folder_of(checkpoint) / CONFIG).exists():
        return None
    config = read_config(run_folder_of(checkpoint))
    class_path = _checked_string(config["model"]["class_path"])
    return RunStart(class_path, _class_name(config["data"]["corpus"]), _settings(config))


def _test_scores(section: dict[str, Any]) -> dict[str, float]:
    """Return the scores of a test by name."""
    scores = {}
    for name, value in with_prefix(section, "test/").items():
        scores[name.removeprefix("test/")] = _checked_number(value)
    return scores


def _scores_with_other_pictures(metrics: dict[str, Any]) -> dict[str, float]:
    """Return the F1 of tests of the whole split with other pictures than the main one's."""
    scores = {}
    for pictures, section in PICTURE_TESTS.items():
        if section not in metrics or is_partial(metrics[section]):
            continue
        if belong_together(metrics[section], metrics["test"]):
            scores[pictures] = _checked_number(metrics[section]["test/f1"])
    return scores


def _optional_count(section: dict[str, Any], name: str) -> int | None:
    """Return a count of a section, None if the section has none.

    Raises:
        TypeError: The value is not a whole number.
    """
    value = section.get(name)
    if value is not None and type(value) is not int:
        raise TypeError("expected a whole number")
    return value


def _checked_number(value: object) -> float:
    """Return a value that must be a number.

    Raises:
        TypeError: The value is not a number.
    """
    if not isinstance(value, int | float):
        raise TypeError("expected a number")
    return value


def _checked_string(value: object) -> str:
    """Return a value that must be a string.

    Raises:
        TypeError: The value is not a string.
    """
    if not isinstance(value, str):
        raise TypeError("expected a string")
    return value


def _class_name(config: dict[str, Any]) -> str:
    """Return the name of the class that a section of a configuration describes."""
    return str(config["class_path"]).rpartition(".")[2]


def _read_fit(section: dict[str, Any]) -> Fit:
    """Read cost and course of a training from the section ``fit`` of ``metrics.json``."""
    epochs, best = section["epochs"], section["best"]["epoch"]
    samples = sum(epoch.get("samples", 0) for epoch in epochs)
    seconds = sum(epoch["train_seconds"] for epoch in epochs)
    to_best = sum(epoch["seconds"] for epoch in epochs if epoch["epoch"] <= best)
    gpu_memory = section.get("peak_gpu_memory_gib")
    curve = []
    for epoch in epochs:
        curve.append(_checked_number(epoch["val/f1"]) if "val/f1" in epoch else None)
    return Fit(
        parameters=int(_checked_number(section["parameters"])),
        trained=int(_checked_number(section["trained_parameters"])),
        peak_memory_gib=_checked_number(section["peak_memory_gib"]),
        peak_gpu_memory_gib=None if gpu_memory is None else _checked_number(gpu_memory),
        samples_per_second=samples / seconds if samples and seconds else None,
        minutes_to_best=to_best / 60,
        curve=tuple(curve),
    )


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return what makes the system, by dotted name."""
    trainer = config.get("trainer", {})
    parts = {
        "model": config["model"],
        "data": config["data"],
        "trainer": {name: trainer.get(name) for name in _TRAINER_SETTINGS},
    }
    settings = {}
    for name, value in flatten_settings(parts).items():
        if not name.startswith(_MACHINE_SETTINGS):
            settings[name] = value
    return settings
