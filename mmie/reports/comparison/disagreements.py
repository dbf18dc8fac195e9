"""The instances of a test split on which systems differ most."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mmie.reports.comparison.groups import System, pictures_of_posts
from mmie.reports.statistics import disagreements
from mmie.runs import PredictionRecord
from mmie.types import NO_RELATION, Entity


@dataclass(frozen=True, slots=True)
class Mention:
    """An entity or relation as one reads it: its words, its type, and whether it is gold."""

    text: str
    type: str
    right: bool = True


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An instance on which systems differ.

    Attributes:
        id: Id of its post.
        text: The post.
        image: Its picture; None if it has none.
        gold: What is right.
        found: What each system found.
        missed: How much of the gold each system did not find.
    """

    id: str
    text: str
    image: str | None
    gold: tuple[Mention, ...]
    found: dict[str, tuple[Mention, ...]]
    missed: dict[str, int]


def find_disagreements(systems: Sequence[System], count: int) -> tuple[Disagreement, ...]:
    """At most ``count`` instances on which systems differ most, with the answers of each system's lowest seed."""
    images = pictures_of_posts(systems)
    given = {system.name: system.predictions[min(system.predictions)] for system in systems}
    return (
        tuple(_disagreement(place, given, images) for place in disagreements(given, count))
        if given
        else ()
    )


def _disagreement(
    place: int, given: Mapping[str, Sequence[PredictionRecord]], images: Mapping[str, str | None]
) -> Disagreement:
    """One instance with every system's answer."""
    predictions = {name: predictions[place] for name, predictions in given.items()}
    one = next(iter(predictions.values()))
    gold = set(one.gold)
    return Disagreement(
        id=one.id,
        text=" ".join(one.words),
        image=images[one.id],
        gold=mentions(one, one.gold),
        found={
            name: mentions(prediction, prediction.predicted)
            for name, prediction in predictions.items()
        },
        missed={
            name: len(gold - set(prediction.predicted)) for name, prediction in predictions.items()
        },
    )


def mentions(prediction: PredictionRecord, entities: Iterable[Entity]) -> tuple[Mention, ...]:
    """Entities or a relation of an answer, gold or found, as one reads them; no relation is a mention too."""
    return tuple(_mention(prediction, entity) for entity in sorted(entities)) or _nothing(
        prediction, not prediction.gold
    )


def _mention(prediction: PredictionRecord, entity: Entity) -> Mention:
    """An entity or relation as one reads it."""
    parts = prediction.arguments or (entity,)
    text = " \N{RIGHTWARDS ARROW} ".join(
        " ".join(prediction.words[part.start : part.end]) for part in parts
    )
    return Mention(text, entity.type, entity in prediction.gold)


def _nothing(prediction: PredictionRecord, right: bool) -> tuple[Mention, ...]:
    """What stands for no relation; for no entities nothing does."""
    return (
        (replace(_mention(prediction, prediction.arguments[0]), type=NO_RELATION, right=right),)
        if prediction.arguments
        else ()
    )
