"""BIO and BIOES tags to entities and back.

Reading follows conlleval (and seqeval's default mode) on every input, valid or not: an ``I-X`` or ``E-X`` that
continues no ``X`` opens an entity.
"""

from collections.abc import Iterable, Sequence

from mmie.types import Entity, TagScheme

OUTSIDE = "O"
_PREFIXES: dict[TagScheme, str] = {"bio": "BI", "bioes": "BIES"}


def tag_names(types: Sequence[str], scheme: TagScheme) -> tuple[str, ...]:
    """All tags of a scheme; ``O`` has id 0.

    >>> tag_names(["PER", "LOC"], "bio")
    ('O', 'B-PER', 'I-PER', 'B-LOC', 'I-LOC')
    """
    return (OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in _PREFIXES[scheme]))


def entities_to_tags(entities: Iterable[Entity], length: int, scheme: TagScheme) -> list[str]:
    """Tags of the first ``length`` words; an entity that reaches beyond them is cut, not left open.

    Raises:
        ValueError: Two entities share a word.

    >>> entities_to_tags([Entity(0, 2, "PER"), Entity(3, 4, "LOC")], 4, "bio")
    ['B-PER', 'I-PER', 'O', 'B-LOC']
    >>> entities_to_tags([Entity(0, 3, "PER")], 2, "bioes")
    ['B-PER', 'E-PER']
    """
    tags = [OUTSIDE] * length
    for entity in entities:
        end = min(entity.end, length)
        for position in range(entity.start, end):
            if tags[position] != OUTSIDE:
                raise ValueError(f"word {position} is part of two entities, one of them {entity}")
            tags[position] = f"{_prefix(position, entity.start, end, scheme)}-{entity.type}"
    return tags


def tags_to_entities(tags: Sequence[str]) -> list[Entity]:
    """Entities that the tags spell, in order of their start.

    >>> tags_to_entities(["B-PER", "I-PER", "O", "I-LOC"])
    [Entity(start=0, end=2, type='PER'), Entity(start=3, end=4, type='LOC')]
    >>> tags_to_entities(["S-PER", "B-LOC", "I-ORG", "E-ORG"])
    [Entity(start=0, end=1, type='PER'), Entity(start=1, end=2, type='LOC'), Entity(start=2, end=4, type='ORG')]
    """
    entities: list[Entity] = []
    start, previous = 0, OUTSIDE
    for position, tag in enumerate([*tags, OUTSIDE]):
        if previous != OUTSIDE and (tag == OUTSIDE or _opens(previous, tag)):
            entities.append(Entity(start, position, previous[2:]))
        if tag != OUTSIDE and (previous == OUTSIDE or _opens(previous, tag)):
            start = position
        previous = tag
    return entities


def allowed_transition(previous: str | None, tag: str | None, scheme: TagScheme) -> bool:
    """Whether ``tag`` may follow ``previous`` in a valid sequence; None stands for the start and the end.

    >>> allowed_transition("B-PER", "I-PER", "bio"), allowed_transition("O", "I-PER", "bio")
    (True, False)
    >>> allowed_transition("B-PER", None, "bioes"), allowed_transition("B-PER", None, "bio")
    (False, True)
    """
    if tag is not None and tag[0] in "IE":
        return previous is not None and continues(previous, tag)
    return not (previous is not None and previous[0] in "BI" and scheme == "bioes")


def continues(previous: str, tag: str) -> bool:
    """Whether ``tag`` goes on with the entity of ``previous`` in a valid sequence.

    >>> continues("B-PER", "E-PER"), continues("B-PER", "I-LOC"), continues("E-PER", "I-PER")
    (True, False, False)
    """
    return tag[0] in "IE" and previous[0] in "BI" and previous[2:] == tag[2:]


def _prefix(position: int, start: int, end: int, scheme: TagScheme) -> str:
    """Prefix of the tag at ``position`` in an entity from ``start`` to ``end``."""
    if scheme == "bioes" and position == end - 1:
        return "S" if position == start else "E"
    return "B" if position == start else "I"


def _opens(previous: str, tag: str) -> bool:
    """Whether ``tag`` opens an entity of its own after ``previous``, neither being ``O``."""
    return tag[0] in "BS" or previous[0] in "ES" or previous[2:] != tag[2:]
