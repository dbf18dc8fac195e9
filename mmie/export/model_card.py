"""The model card of a checkpoint: what it finds, how well, by which paper, and how to load it."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from mmie.methods import ExtractionModule
from mmie.types import Task

CARD = "README.md"
PIPELINES: dict[Task, str] = {"ner": "token-classification", "re": "text-classification"}
"""The hub's names of the tasks."""
_FINDS: dict[Task, str] = {"ner": "named entities", "re": "relations between entities"}
_TAGS: dict[Task, str] = {"ner": "named-entity-recognition", "re": "relation-extraction"}
_SECTIONS = {"test": "", "test_shuffled": "shuffled", "test_none": "none"}
"""Sections of ``metrics.json``, and what pictures they were tested with if not with the run's own."""
_SCORES = ("f1", "precision", "recall", "accuracy")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run folder says of a checkpoint; None or empty where it says nothing.

    Attributes:
        corpus: Class name of the corpus.
        seed: Seed of everything random.
        base_model: Hub name of the text encoder whose weights training started from.
        scores: Test scores by name, 0 to 1.
        validation: Validation F1 of the best epoch, 0 to 1.
        other_pictures: Test F1 with ``shuffled`` pictures and with ``none``, 0 to 1.
    """

    corpus: str | None = None
    seed: int | None = None
    base_model: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    validation: float | None = None
    other_pictures: dict[str, float] = field(default_factory=dict)


def write_card(method: ExtractionModule, checkpoint: Path, path: Path, name: str) -> None:
    """Write the card of a checkpoint.

    Args:
        method: Its method.
        checkpoint: Its file; the run folder around it is read.
        path: The card.
        name: What the card calls the model.
    """
    facts = read_facts(checkpoint)
    text = load_template("model_card.md").render(
        front_matter=front_matter(method, facts, name),
        name=name,
        method=type(method).__name__,
        finds=_FINDS[method.schema.task],
        summary=(type(method).__doc__ or "").strip().splitlines()[0],
        schema=method.schema,
        looks=method.reads_pixels or bool(method.feature_specs()),
        paper=method.paper,
        facts=facts,
        parameters=sum(parameter.numel() for parameter in method.parameters()),
        encoder=method.text.config,
    )
    path.write_text(text, encoding="utf-8")


def load_template(name: str) -> Template:
    """A template of a Markdown file."""
    environment = Environment(
        loader=PackageLoader("mmie.export"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def front_matter(method: ExtractionModule, facts: RunFacts, name: str) -> str:
    """What the hub reads of a card: YAML, without the lines around it."""
    task = method.schema.task
    data = ModelCardData(
        library_name="mmie",
        pipeline_tag=PIPELINES[task],
        tags=["multimodal", "information-extraction", _TAGS[task], type(method).__name__],
        base_model=facts.base_model,
        model_name=name,
        eval_results=_results(task, facts) or None,
    )
    return str(data.to_yaml())


def read_facts(checkpoint: Path) -> RunFacts:
    """What the run folder of a checkpoint says of it; scores of another checkpoint of the run are left out."""
    config, metrics = (
        _read(checkpoint.parent / "config.yaml"),
        _read(checkpoint.parent / "metrics.json"),
    )
    corpus = _dig(config, "data", "corpus", "class_path")
    own = {
        name: section for name in _SECTIONS if _is_of(section := _dig(metrics, name), checkpoint)
    }
    shuffled = {
        name: _f1(own[section]) for section, name in _SECTIONS.items() if name and section in own
    }
    return RunFacts(
        corpus=str(corpus).rpartition(".")[2] if corpus else None,
        seed=_dig(config, "seed_everything"),
        base_model=_base_model(_dig(config, "model", "init_args") or {}),
        scores={
            score: own["test"][f"test/{score}"]
            for score in _SCORES
            if f"test/{score}" in own.get("test", {})
        },
        validation=_dig(metrics, "fit", "best", "val/f1")
        if checkpoint.name == "best.ckpt"
        else None,
        other_pictures={name: value for name, value in shuffled.items() if value is not None},
    )


def _results(task: Task, facts: RunFacts) -> list[EvalResult]:
    """The test scores as the hub lists them; without a corpus they would be scores of nothing."""
    if facts.corpus is None:
        return []
    return [
        EvalResult(
            task_type=PIPELINES[task],
            dataset_type=facts.corpus.lower(),
            dataset_name=facts.corpus,
            dataset_split="test",
            metric_type=score,
            metric_value=round(value, 4),
        )
        for score, value in facts.scores.items()
    ]


def _is_of(section: Any, checkpoint: Path) -> bool:
    """Whether a section of ``metrics.json`` is the outcome of a checkpoint of the same folder, wherever it was then."""
    return (
        isinstance(section, dict) and Path(str(section.get("checkpoint"))).name == checkpoint.name
    )


def _f1(section: dict[str, Any]) -> float | None:
    """F1 of a test."""
    value: float | None = section.get("test/f1")
    return value


def _base_model(init_args: dict[str, Any]) -> str | None:
    """The hub name of the text encoder, if training started from its weights; a folder is no name for others."""
    source = init_args.get("text_encoder")
    if (
        not isinstance(source, str)
        or Path(source).exists()
        or not init_args.get("pretrained", True)
    ):
        return None
    return source if re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", source) else None


def _read(path: Path) -> Any:
    """The content of a YAML or JSON file; None if there is none or it is broken."""
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _dig(content: Any, *names: str) -> Any:
    """What lies under names, one below the other; None if it is not there."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content
