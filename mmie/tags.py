"""Conversion between entities and their BIO or BIOES tags.

Reading follows conlleval (and seqeval's default mode) on every input, valid or not: an ``I-X`` or
``E-X`` that continues no ``X`` opens an entity.
"""

from collections.abc import Iterable, Sequence

from mmie.types import Entity, TagScheme

OUTSIDE = "O"
_PREFIXES: dict[TagScheme, str] = {"bio": "BI", "bioes": "BIES"}


def tag_names(types: Sequence[str], scheme: TagScheme) -> tuple[str, ...]:
    """Return all tags of a scheme, ``O`` first.

    >>> tag_names(["PER", "LOC"], "bio")
    ('O', 'B-PER', 'I-PER', 'B-LOC', 'I-LOC')
    """
    names = [OUTSIDE]
    for entity_type in types:
        names += [f"{prefix}-{entity_type}" for prefix in _PREFIXES[scheme]]
    return tuple(names)


def entities_to_tags(entities: Iterable[Entity], length: int, scheme: TagScheme) -> list[str]:
    """Return the tags of the first ``length`` words.

    An entity that reaches beyond them is cut, not left open.

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


def middle_word(entity: Entity) -> int:
    """Return the middle word of an entity, the first one of two.

    >>> middle_word(Entity(3, 4)), middle_word(Entity(3, 5)), middle_word(Entity(3, 6))
    (3, 3, 4)
    """
    return (entity.start + entity.end - 1) // 2


def choose_disjoint(found: Iterable[tuple[float, Entity]]) -> list[tuple[float, Entity]]:
    """Choose entities that share no word, the more probable ones, and return them in order.

    >>> choose_disjoint([(0.5, Entity(0, 2)), (0.75, Entity(1, 3)), (0.25, Entity(3, 4))])
    [(0.75, Entity(start=1, end=3, type='')), (0.25, Entity(start=3, end=4, type=''))]
    """
    taken: set[int] = set()
    chosen: list[tuple[float, Entity]] = []
    for probability, entity in sorted(found, key=lambda item: (-item[0], item[1])):
        words = range(entity.start, entity.end)
        if taken.isdisjoint(words):
            taken.update(words)
            chosen.append((probability, entity))
    return sorted(chosen, key=lambda item: item[1])


def tags_to_entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of a sequence of tags, in order of their start.

    >>> tags_to_entities(["B-PER", "I-PER", "O", "I-LOC"])
    [Entity(start=0, end=2, type='PER'), Entity(start=3, end=4, type='LOC')]
    >>> entities = tags_to_entities(["S-PER", "B-LOC", "I-ORG", "E-ORG"])
    >>> [(entity.start, entity.end, entity.type) for entity in entities]
    [(0, 1, 'PER'), (1, 2, 'LOC'), (2, 4, 'ORG')]
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
    """Tell whether ``tag`` may follow ``previous`` in a valid sequence.

    None stands for the start as ``previous`` and for the end as ``tag``.

    >>> allowed_transition("B-PER", "I-PER", "bio"), allowed_transition("O", "I-PER", "bio")
    (True, False)
    >>> allowed_transition("B-PER", None, "bioes"), allowed_transition("B-PER", None, "bio")
    (False, True)
    """
    if tag is not None and tag[0] in "IE":
        return previous is not None and continues(previous, tag)
    is_open = scheme == "bioes" and previous is not None and previous[0] in "BI"
    return not is_open


def continues(previous: str, tag: str) -> bool:
    """Tell whether ``tag`` continues the entity of ``previous`` in a valid sequence.

    >>> continues("B-PER", "E-PER"), continues("B-PER", "I-LOC"), continues("E-PER", "I-PER")
    (True, False, False)
    """
    return tag[0] in "IE" and previous[0] in "BI" and previous[2:] == tag[2:]


def _prefix(position: int, start: int, end: int, scheme: TagScheme) -> str:
    """Return the prefix of the tag at ``position`` in an entity from ``start`` to ``end``."""
    if scheme == "bioes" and position == end - 1:
        return "S" if position == start else "E"
    return "B" if position == start else "I"


def _opens(previous: str, tag: str) -> bool:
    """Tell whether ``tag`` opens a new entity after ``previous``, neither being ``O``."""
    return tag[0] in "BS" or previous[0] in "ES" or previous[2:] != tag[2:]
