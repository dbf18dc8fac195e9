"""Facts about a checkpoint in the run folder around it."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmie.runs.folder import BEST, CONFIG, METRICS
from mmie.runs.metrics import CORPUS_NOTE
from mmie.runs.picture_tests import PICTURE_TESTS
from mmie.utils.files import read_yaml

_SECTIONS = {"test": "", **{section: name for name, section in PICTURE_TESTS.items()}}
"""Tests in ``metrics.json``, and the pictures they used in place of the posts' own."""
_SCORES = ("f1", "precision", "recall", "accuracy")
_HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Origin and scores of a checkpoint, with None or empty for what the run folder lacks.

    Attributes:
        corpus: Class name of the corpus.
        seed: Seed of everything random.
        base_model: Hub name of the text encoder whose weights training started from.
        scores: Test scores by name, from 0 to 1.
        validation: Validation F1 of the best epoch, from 0 to 1.
        other_pictures: Test F1 with ``shuffled`` pictures and with ``none``, from 0 to 1.
        corpus_note: Note of the corpus, empty if it has none.
    """

    corpus: str | None = None
    seed: int | None = None
    base_model: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    validation: float | None = None
    other_pictures: dict[str, float] = field(default_factory=dict)
    corpus_note: str = ""


def read_facts(checkpoint: Path) -> RunFacts:
    """Read the facts about a checkpoint from its run folder.

    Missing and broken files are ignored, and so are scores of the run's other checkpoints.
    """
    config = _read(checkpoint.parent / CONFIG)
    metrics = _read(checkpoint.parent / METRICS)
    corpus = _get(config, "data", "corpus", "class_path")
    validation = None
    if checkpoint.name == BEST:
        validation = _get(metrics, "fit", "best", "val/f1")
    tests = _tests_of(metrics, checkpoint)
    test = tests.get("test", {})
    return RunFacts(
        corpus=str(corpus).rpartition(".")[2] if corpus else None,
        seed=_get(config, "seed_everything"),
        base_model=_base_model(_get(config, "model", "init_args") or {}),
        scores={score: test[f"test/{score}"] for score in _SCORES if f"test/{score}" in test},
        validation=validation,
        other_pictures=_scores_with_other_pictures(tests),
        corpus_note=test.get(CORPUS_NOTE) or _get(metrics, "fit", CORPUS_NOTE) or "",
    )


def _tests_of(metrics: Any, checkpoint: Path) -> dict[str, dict[str, Any]]:
    """Return the tests of a checkpoint by section of ``metrics.json``.

    The checkpoint's file name decides, since a run folder may have moved since the test.
    """
    tests = {}
    for section in _SECTIONS:
        test = _get(metrics, section)
        if isinstance(test, dict) and Path(str(test.get("checkpoint"))).name == checkpoint.name:
            tests[section] = test
    return tests


def _scores_with_other_pictures(tests: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return the F1 of each test with other pictures than the posts' own."""
    scores = {}
    for section, test in tests.items():
        pictures, f1 = _SECTIONS[section], test.get("test/f1")
        if pictures and f1 is not None:
            scores[pictures] = f1
    return scores


def _base_model(init_args: dict[str, Any]) -> str | None:
    """Return the hub name of the text encoder if training started from its weights.

    A folder of this machine is no name for others.
    """
    source = init_args.get("text_encoder")
    if not isinstance(source, str) or not init_args.get("pretrained", True):
        return None
    if Path(source).exists() or not _HUB_NAME.fullmatch(source):
        return None
    return source


def _read(path: Path) -> Any:
    """Read a YAML or JSON file, or return None if it is missing or broken."""
    try:
        if path.suffix != ".json":
            return read_yaml(path)
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _get(content: Any, *names: str) -> Any:
    """Return the value under nested names, or None if it is missing."""
    for name in names:
        if not isinstance(content, dict):
            return None
        content = content.get(name)
    return content
