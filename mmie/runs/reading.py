"""Run folders, read: what was run, how well it did, and what it answered."""

import glob
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmie.data.parsing import check_span, check_words
from mmie.types import NO_RELATION, Entity, MmieError, Task
from mmie.utils.files import read_yaml

_CONFIG, _METRICS, _PREDICTIONS = "config.yaml", "metrics.json", "predictions.jsonl"
_PICTURE_TESTS = {"shuffled": "test_shuffled", "none": "test_none"}
_NOT_THE_SYSTEM = (
    "data.corpus.",
    "data.num_workers",
    "data.pin_memory",
    "data.seed",
    "data.labels",
    "data.max_pixels",
)
"""Settings that tell machines or data apart, not systems."""


class RunError(MmieError, ValueError):
    """A folder that holds no run, or one that was not tested yet."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What training took.

    Attributes:
        parameters: All parameters of the method.
        trained: Those that training changes.
        peak_memory_gib: Most memory of the process, in GiB.
        peak_gpu_memory_gib: Most memory of the GPU, in GiB; None without one.
        samples_per_second: Training instances per second of training, validation left out; None if not recorded.
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
        seed: Seed of everything random.
        pictures: Pictures of the main test: ``right``, ``shuffled`` or ``none``.
        other_pictures: F1 of tests with other pictures, by what pictures.
        settings: What makes the system, by dotted name: method, data and the trainer's epochs and precision.
        trained_on: Class name of the corpus of the training, where it is another one; else None.
        fit: What training took; None if the checkpoint's folder does not say.
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
    pictures: str = "right"
    other_pictures: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    trained_on: str | None = None
    fit: Fit | None = None


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """What one run answered to one instance of the test split.

    Both tasks have one form: a relation stands as an entity that bears its label, over the words of its head, and
    ``None`` as nothing. The scores of `mmie.metrics` for entities are then those for relations.

    Attributes:
        id: Id of the post; instances of one post share it.
        words: Words of the post.
        image: The picture that the run was given; None if it was given none.
        gold: Gold entities, or the gold relation.
        predicted: Entities found, or the relation found.
        arguments: Head and tail of the relation; empty for entities.
    """

    id: str
    words: tuple[str, ...]
    image: str | None
    gold: tuple[Entity, ...]
    predicted: tuple[Entity, ...]
    arguments: tuple[Entity, ...] = ()


def find_runs(named: Iterable[str | Path]) -> tuple[list[Run], list[Path]]:
    """The runs that folders or globs name, and the folders below them that hold a run that was not tested.

    A folder that is no run folder stands for all run folders below it.

    Raises:
        RunError: Nothing is found, or a run folder that was named was not tested.
    """
    runs: dict[Path, Run] = {}
    untested: list[Path] = []
    for name in named:
        for folder in _matches(str(name)):
            if (folder / _CONFIG).exists() or not folder.is_dir():
                runs.setdefault(folder.resolve(), read_run(folder))
                continue
            found, waiting = _below(folder)
            for run in found:
                runs.setdefault(run.folder.resolve(), run)
            untested += waiting
    return list(runs.values()), untested


def read_run(folder: str | Path) -> Run:
    """A run from its folder.

    Raises:
        RunError: ``config.yaml`` or the test section of ``metrics.json`` is not there, or they hold something else.
    """
    folder = Path(folder)
    try:
        return _read_run(folder)
    except (
        OSError,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        ArithmeticError,
        RecursionError,
        yaml.YAMLError,
    ) as error:
        raise RunError(f"{folder} holds no tested run: fit and test it first") from error


def read_predictions(run: Run) -> list[PredictionRecord]:
    """What a run answered, in the order of the test split; empty if it left no ``predictions.jsonl``.

    Raises:
        RunError: A line is not what `mmie test` writes.
    """
    file = run.folder / _PREDICTIONS
    return read_prediction_file(file) if file.exists() else []


def read_prediction_file(file: Path) -> list[PredictionRecord]:
    """The answers in a file of predictions, in its order.

    Raises:
        RunError: A line is not what `mmie test` writes.
    """
    predictions = []
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if line:
            try:
                predictions.append(_to_prediction(json.loads(line)))
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise RunError(
                    f"{file}:{number}: expected a line of `mmie test`; test the run again"
                ) from error
    return predictions


def _matches(name: str) -> list[Path]:
    """The paths that a name or a glob stands for."""
    if Path(name).exists():
        return [Path(name)]
    found = [Path(path) for path in sorted(glob.glob(name, recursive=True)) if Path(path).is_dir()]
    if not found:
        raise RunError(f"{name} holds no tested run: there is no such folder")
    return found


def _below(folder: Path) -> tuple[list[Run], list[Path]]:
    """Tested runs below a folder, and the folders of runs that were not tested."""
    runs, untested = [], []
    for config in sorted(folder.rglob(_CONFIG)):
        try:
            runs.append(read_run(config.parent))
        except RunError:
            untested.append(config.parent)
    if not runs:
        raise RunError(f"{folder} holds no tested run: fit and test it first")
    return runs, untested


def _read_run(folder: Path) -> Run:
    """A run from its folder; raises almost anything on what is none."""
    config: dict[str, Any] = read_yaml(folder / _CONFIG)
    metrics: dict[str, Any] = json.loads((folder / _METRICS).read_text(encoding="utf-8"))
    corpus, test = config["data"]["corpus"], metrics["test"]
    if "test/f1" not in test:
        raise KeyError("test/f1")  # pretraining, which answers nothing
    trained_in = Path(test.get("checkpoint", folder)).parent
    fit = metrics.get("fit") or _fit_section(trained_in)
    corpus_name, trained_on = _class_name(corpus), _corpus_of(trained_in)
    return Run(
        folder=folder,
        method=_class_name(config["model"]),
        class_path=_name(config["model"]["class_path"]),
        corpus=corpus_name,
        corpus_config=corpus,
        root=Path(corpus["init_args"]["root"]),
        task=config["data"]["task"],
        scores={
            name.removeprefix("test/"): _number(test[name])
            for name in test
            if name.startswith("test/")
        },
        seed=int(config.get("seed_everything") or 0),
        pictures=_name(test.get("pictures") or config["data"].get("pictures") or "right"),
        other_pictures={
            name: _number(metrics[key]["test/f1"])
            for name, key in _PICTURE_TESTS.items()
            if key in metrics
        },
        settings=_settings(config),
        trained_on=trained_on if trained_on != corpus_name else None,
        fit=_fit(fit) if fit else None,
    )


def _number(value: object) -> float:
    """A value of ``metrics.json`` that must be a number.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, int | float):
        raise TypeError("expected a number")
    return value


def _name(value: object) -> str:
    """A value that must be a string.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, str):
        raise TypeError("expected a string")
    return value


def _class_name(config: dict[str, Any]) -> str:
    return str(config["class_path"]).rpartition(".")[2]


def _fit_section(folder: Path) -> dict[str, Any] | None:
    """What a folder says of the fit that it holds; None if it holds none."""
    file = folder / _METRICS
    return json.loads(file.read_text(encoding="utf-8")).get("fit") if file.exists() else None


def _corpus_of(folder: Path) -> str | None:
    """Class name of the corpus that a run folder was made with; None if it is none."""
    file = folder / _CONFIG
    return _class_name(read_yaml(file)["data"]["corpus"]) if file.exists() else None


def _fit(section: dict[str, Any]) -> Fit:
    """What training took, from its section of ``metrics.json``."""
    epochs, best = section["epochs"], section["best"]["epoch"]
    samples = sum(epoch.get("samples", 0) for epoch in epochs)
    seconds = sum(epoch["train_seconds"] for epoch in epochs)
    gpu = section.get("peak_gpu_memory_gib")
    return Fit(
        parameters=int(_number(section["parameters"])),
        trained=int(_number(section["trained_parameters"])),
        peak_memory_gib=_number(section["peak_memory_gib"]),
        peak_gpu_memory_gib=None if gpu is None else _number(gpu),
        samples_per_second=samples / seconds if samples and seconds else None,
        minutes_to_best=sum(epoch["seconds"] for epoch in epochs if epoch["epoch"] <= best) / 60,
        curve=tuple(_number(epoch["val/f1"]) if "val/f1" in epoch else None for epoch in epochs),
    )


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """What makes the system, by dotted name."""
    trainer = {name: config.get("trainer", {}).get(name) for name in ("max_epochs", "precision")}
    parts = {"model": config["model"], "data": config["data"], "trainer": trainer}
    named = {name.replace("init_args.", ""): value for name, value in _flat(parts)}
    return {name: value for name, value in named.items() if not name.startswith(_NOT_THE_SYSTEM)}


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested dictionary by dotted name."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _to_prediction(line: dict[str, Any]) -> PredictionRecord:
    """An answer from its line."""
    name, words, image = str(line["id"]), check_words(line["words"]), line["image"]
    if not (image is None or isinstance(image, str)):
        raise TypeError("expected the path of a picture")
    gold, predicted = line["gold"], line["predicted"]
    if isinstance(gold, list):
        return PredictionRecord(
            name, words, image, _entities(gold, words), _entities(predicted, words)
        )
    arguments = _entities([gold["head"], gold["tail"]], words)
    return PredictionRecord(
        name, words, image, _as_entity(gold, words), _as_entity(predicted, words), arguments
    )


def _entities(records: Sequence[dict[str, Any]], words: Sequence[str]) -> tuple[Entity, ...]:
    return tuple(_entity(record, record["type"], words) for record in records)


def _as_entity(relation: dict[str, Any], words: Sequence[str]) -> tuple[Entity, ...]:
    """A relation as an entity that bears its label; ``None`` as nothing."""
    label = relation["label"]
    return () if label == NO_RELATION else (_entity(relation["head"], label, words),)


def _entity(record: dict[str, Any], name: object, words: Sequence[str]) -> Entity:
    """The entity of a record.

    Raises:
        ValueError: It lies outside the words.
        TypeError: Its name is no string.
    """
    if not isinstance(name, str):
        raise TypeError("expected the name of a type or label")
    return Entity(*check_span(record["start"], record["end"], len(words), "an entity"), name)
