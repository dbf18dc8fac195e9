"""Instances of a test split on which systems differ most."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmie.reports.comparison.groups import System, pictures_of_posts
from mmie.runs import PredictionRecord
from mmie.types import NO_RELATION, Entity


@dataclass(frozen=True, slots=True)
class EntityText:
    """Entity or relation as a report shows it.

    Attributes:
        text: Words of the entity, or of both arguments of the relation.
        type: Entity type or relation label.
        right: Whether it is gold.
    """

    text: str
    type: str
    right: bool = True


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Instance on which systems differ.

    Attributes:
        id: Id of the post.
        text: Text of the post.
        image: Picture of the post; None if it has none, empty if it is left out.
        gold: Gold entities, or the gold relation.
        found: Predictions of each system.
        missed: Number of gold entities that each system did not predict.
    """

    id: str
    text: str
    image: str | None
    gold: tuple[EntityText, ...]
    found: dict[str, tuple[EntityText, ...]]
    missed: dict[str, int]


def find_disagreements(systems: Sequence[System], count: int) -> tuple[Disagreement, ...]:
    """Find the instances on which systems differ most.

    Args:
        systems: Systems with predictions; those of the lowest seed are compared.
        count: Largest number of instances to return.
    """
    if not systems:
        return ()
    pictures = pictures_of_posts(systems)
    predictions = {system.name: system.predictions[min(system.predictions)] for system in systems}
    indices = rank_disagreements(predictions, count)
    return tuple(_build_disagreement(index, predictions, pictures) for index in indices)


def rank_disagreements(
    predictions: Mapping[str, Sequence[PredictionRecord]], count: int
) -> list[int]:
    """Rank the instances for which systems predict different entities.

    An instance ranks first by the range of the systems' numbers of errors, then by the number of
    different predictions.

    Args:
        predictions: Predictions of each system for the same instances.
        count: Largest number of instances to return.

    Returns:
        Indices of the instances.
    """
    ranked = []
    for index, records in enumerate(zip(*predictions.values(), strict=True)):
        errors = [len(set(record.predicted) ^ set(record.gold)) for record in records]
        distinct = {frozenset(record.predicted) for record in records}
        if len(distinct) > 1:
            ranked.append((min(errors) - max(errors), -len(distinct), index))
    return [index for _, _, index in sorted(ranked)[:count]]


def entity_texts(
    prediction: PredictionRecord, entities: Iterable[Entity]
) -> tuple[EntityText, ...]:
    """Spell out gold or predicted entities, or the relation, of an instance.

    An instance of relation extraction without a relation gives one text labelled ``None``.
    """
    texts = []
    for entity in sorted(entities):
        words = _join_words(prediction, prediction.arguments or (entity,))
        texts.append(EntityText(words, entity.type, entity in prediction.gold))
    if not texts and prediction.arguments:
        words = _join_words(prediction, prediction.arguments)
        texts.append(EntityText(words, NO_RELATION, not prediction.gold))
    return tuple(texts)


def _build_disagreement(
    index: int,
    predictions: Mapping[str, Sequence[PredictionRecord]],
    pictures: Mapping[str, str | None],
) -> Disagreement:
    """Collect the predictions of all systems for one instance."""
    first = next(iter(predictions.values()))[index]
    found, missed = {}, {}
    for name, records in predictions.items():
        record = records[index]
        found[name] = entity_texts(record, record.predicted)
        missed[name] = len(set(first.gold) - set(record.predicted))
    return Disagreement(
        id=first.id,
        text=" ".join(first.words),
        image=pictures[first.id],
        gold=entity_texts(first, first.gold),
        found=found,
        missed=missed,
    )


def _join_words(prediction: PredictionRecord, entities: Iterable[Entity]) -> str:
    """Join the words of entities, with an arrow between head and tail."""
    parts = [" ".join(prediction.words[entity.start : entity.end]) for entity in entities]
    return " \N{RIGHTWARDS ARROW} ".join(parts)
