"""The instances of a test split on which systems differ most."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mmie.reports.runs import Answer
from mmie.reports.statistics import disagreements
from mmie.reports.systems import System, pictures_of_posts
from mmie.types import NO_RELATION, Entity


@dataclass(frozen=True, slots=True)
class Mention:
    """An entity or relation as one reads it: its words, its type, and whether it is gold."""

    text: str
    type: str
    right: bool = True


@dataclass(frozen=True, slots=True)
class Disputed:
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


def dispute(systems: Sequence[System], count: int) -> tuple[Disputed, ...]:
    """At most ``count`` instances on which systems differ most, with the answers of each system's lowest seed."""
    images = pictures_of_posts(systems)
    given = {system.name: system.answers[min(system.answers)] for system in systems}
    return tuple(_disputed(place, given, images) for place in disagreements(given, count)) if given else ()


def _disputed(place: int, given: Mapping[str, Sequence[Answer]], images: Mapping[str, str | None]) -> Disputed:
    """One instance with every system's answer."""
    answers = {name: answers[place] for name, answers in given.items()}
    one = next(iter(answers.values()))
    gold = set(one.gold)
    return Disputed(
        id=one.id,
        text=" ".join(one.words),
        image=images[one.id],
        gold=mentions(one, one.gold),
        found={name: mentions(answer, answer.predicted) for name, answer in answers.items()},
        missed={name: len(gold - set(answer.predicted)) for name, answer in answers.items()},
    )


def mentions(answer: Answer, entities: Iterable[Entity]) -> tuple[Mention, ...]:
    """Entities or a relation of an answer, gold or found, as one reads them; no relation is a mention too."""
    return tuple(_mention(answer, entity) for entity in sorted(entities)) or _nothing(answer, not answer.gold)


def _mention(answer: Answer, entity: Entity) -> Mention:
    """An entity or relation as one reads it."""
    parts = answer.arguments or (entity,)
    text = " \N{RIGHTWARDS ARROW} ".join(" ".join(answer.words[part.start : part.end]) for part in parts)
    return Mention(text, entity.type, entity in answer.gold)


def _nothing(answer: Answer, right: bool) -> tuple[Mention, ...]:
    """What stands for no relation; for no entities nothing does."""
    return (replace(_mention(answer, answer.arguments[0]), type=NO_RELATION, right=right),) if answer.arguments else ()
