"""Predictions of a run: a line of JSON for each instance of the split.

A line is a post in the form of `mmie.data.records`, with what was predicted for it, and its gold
labels under ``gold``::

    {"id": "7", "words": ["Jordan", "lands"], "image": "images/7.jpg",
     "entities": [{"text": "Jordan", "type": "PER", "start": 0, "end": 1, "probability": 0.9}],
     "gold": {"entities": [{"text": "Jordan", "type": "PER", "start": 0, "end": 1}]}}

For relation extraction ``relations`` stand in place of ``entities``, one to a line. Lines of
versions before 0.2, which hold ``gold`` and ``predicted`` side by side, are read as well.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmie.data.parsing import check_span, check_words
from mmie.data.records import entity_record, relation_record, span_record
from mmie.runs.folder import PREDICTIONS, RunError
from mmie.runs.reading import Run
from mmie.types import NO_RELATION, Entity, Post, Prediction, Relation
from mmie.utils.files import digest_file


class PredictionMismatch(RunError):
    """Predictions that are not those whose scores ``metrics.json`` holds."""


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """Gold labels and predictions for one instance of a split.

    Both tasks have one form: a relation is an entity whose type is its label, over the words of its
    head, and ``None`` is no entity. The scores of `mmie.metrics` for entities then serve relations.

    Attributes:
        id: Id of the post; instances of one post share it.
        words: Words of the post.
        image: The picture that the run was given; None if it was given none.
        gold: Gold entities, or the gold relation.
        predicted: Predicted entities, or the predicted relation.
        arguments: Head and tail of the relation; empty for entities.
    """

    id: str
    words: tuple[str, ...]
    image: str | None
    gold: tuple[Entity, ...]
    predicted: tuple[Entity, ...]
    arguments: tuple[Entity, ...] = ()


def prediction_line(post: Post, relation: Relation | None, prediction: Prediction) -> str:
    """Return the line of one instance.

    Args:
        post: The post.
        relation: The gold relation that was asked about; None for entities.
        prediction: The prediction, with probabilities.
    """
    line: dict[str, Any] = {
        "id": post.id,
        "words": post.words,
        "image": None if post.image is None else str(post.image),
    }
    if relation is not None:
        (predicted,), (probability,) = prediction.relations, prediction.probabilities
        head, tail = (_span(entity, post.words) for entity in (relation.head, relation.tail))
        line["relations"] = [relation_record(head, predicted.label, tail, probability)]
        line["gold"] = {"relations": [{"head": head, "label": relation.label, "tail": tail}]}
    else:
        pairs = zip(prediction.entities, prediction.probabilities, strict=True)
        line["entities"] = [
            entity_record(_span(entity, post.words), probability) for entity, probability in pairs
        ]
        line["gold"] = {"entities": [_span(entity, post.words) for entity in post.entities]}
    return json.dumps(line, ensure_ascii=False)


def read_predictions(run: Run) -> list[PredictionRecord]:
    """Read the predictions of a run's main test in the order of the split, if it has any.

    Raises:
        PredictionMismatch: The predictions are not those that the test wrote.
        RunError: A line is not what a test writes.
    """
    file = run.folder / PREDICTIONS
    if not file.exists():
        return []
    records = read_prediction_file(file)
    if run.count is not None and run.count != len(records):
        raise PredictionMismatch(
            f"{file} has {len(records)} predictions, its test counted {run.count}"
        )
    if run.predictions_digest is not None and run.predictions_digest != digest_file(file):
        raise PredictionMismatch(f"{file} is another file than its test wrote")
    return records


def read_prediction_file(file: Path) -> list[PredictionRecord]:
    """Read the predictions in a file, in its order.

    Raises:
        RunError: A line is not what a test writes.
    """
    records = []
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            records.append(_to_record(json.loads(line)))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(
                f"{file}:{number}: expected a line of `mmie test`; test the run again"
            ) from error
    return records


def _to_record(line: Mapping[str, Any]) -> PredictionRecord:
    """Convert a line to a record.

    Raises:
        ValueError: An entity lies outside the words.
        TypeError: A value is of another type.
        LookupError: A key is missing.
    """
    line = _upgrade(line)
    words, image, gold = check_words(line["words"]), line["image"], line["gold"]
    if not (image is None or isinstance(image, str)):
        raise TypeError("expected the path of a picture")
    name = str(line["id"])
    if "entities" in gold:
        entities = (_entities(items, words) for items in (gold["entities"], line["entities"]))
        return PredictionRecord(name, words, image, *entities)
    (gold_relation,), (relation,) = gold["relations"], line["relations"]
    arguments = _entities([gold_relation["head"], gold_relation["tail"]], words)
    return PredictionRecord(
        name,
        words,
        image,
        _relation_as_entity(gold_relation, words),
        _relation_as_entity(relation, words),
        arguments,
    )


def _upgrade(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Convert a line of versions before 0.2 to today's form."""
    if "predicted" not in line:
        return line
    gold, predicted = line["gold"], line["predicted"]
    if isinstance(gold, list):
        return {**line, "entities": predicted, "gold": {"entities": gold}}
    return {**line, "relations": [predicted], "gold": {"relations": [gold]}}


def _span(entity: Entity, words: Sequence[str]) -> dict[str, Any]:
    """Return the record of an entity, with offsets in words."""
    text = " ".join(words[entity.start : entity.end])
    return span_record(text, entity.type, entity.start, entity.end)


def _entities(items: Sequence[Mapping[str, Any]], words: Sequence[str]) -> tuple[Entity, ...]:
    """Convert records of entities."""
    return tuple(_entity(item, item["type"], words) for item in items)


def _relation_as_entity(item: Mapping[str, Any], words: Sequence[str]) -> tuple[Entity, ...]:
    """Convert a relation to an entity whose type is its label. ``None`` gives no entity."""
    label = item["label"]
    return () if label == NO_RELATION else (_entity(item["head"], label, words),)


def _entity(item: Mapping[str, Any], type: object, words: Sequence[str]) -> Entity:
    """Build an entity from a record.

    Raises:
        ValueError: The entity lies outside the words.
        TypeError: The type is no string.
    """
    if not isinstance(type, str):
        raise TypeError("expected the name of a type or label")
    start, end = check_span(item["start"], item["end"], len(words), "an entity")
    return Entity(start, end, type)
