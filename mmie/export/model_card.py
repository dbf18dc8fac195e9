"""Model card of a checkpoint: task, paper, scores, and how to load it."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from mmie.export.run_facts import RunFacts, read_facts
from mmie.methods import ExtractionModule
from mmie.types import Task
from mmie.utils.text import escape_markdown, inline_code

PIPELINES: dict[Task, str] = {"ner": "token-classification", "re": "text-classification"}
"""The hub's names of the tasks."""
_TARGETS: dict[Task, str] = {"ner": "named entities", "re": "relations between entities"}
_TAGS: dict[Task, str] = {"ner": "named-entity-recognition", "re": "relation-extraction"}


def write_card(method: ExtractionModule, checkpoint: Path, path: Path, name: str) -> None:
    """Write the card of a checkpoint.

    Args:
        method: The checkpoint's method.
        checkpoint: The checkpoint's file, whose run folder is read.
        path: The card.
        name: Name of the model.
    """
    facts = read_facts(checkpoint)
    text = load_template("model_card.md").render(
        module=own_module(method),
        front_matter=front_matter(method, facts, name),
        name=name,
        method=type(method).__name__,
        target=_TARGETS[method.schema.task],
        summary=(type(method).__doc__ or "").strip().splitlines()[0],
        schema=method.schema,
        uses_images=method.uses_images,
        paper=method.paper,
        facts=facts,
        parameters=sum(parameter.numel() for parameter in method.parameters()),
        encoder=method.text.config,
    )
    path.write_text(text, encoding="utf-8")


def own_module(method: ExtractionModule) -> str | None:
    """Return the module of a method that is not part of this package, None for one of a script."""
    module = type(method).__module__
    return None if module == "__main__" or module.startswith("mmie.") else module


def load_template(name: str) -> Template:
    """Load the template of a Markdown file."""
    environment = Environment(
        loader=PackageLoader("mmie.export"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(markdown=escape_markdown, code=inline_code)
    return environment.get_template(name)


def front_matter(method: ExtractionModule, facts: RunFacts, name: str) -> str:
    """Return the YAML that the hub reads, without the lines around it."""
    task = method.schema.task
    data = ModelCardData(
        library_name="mmie",
        pipeline_tag=PIPELINES[task],
        tags=["multimodal", "information-extraction", _TAGS[task], type(method).__name__],
        base_model=facts.base_model,
        model_name=name,
        eval_results=_eval_results(task, facts) or None,
    )
    return str(data.to_yaml())


def _eval_results(task: Task, facts: RunFacts) -> list[EvalResult]:
    """Return the test scores as the hub lists them, or none if the corpus is not known."""
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
