"""Truncation of a post's subwords to the room that the encoder leaves for them."""

from collections.abc import Sequence

from mmie.types import Relation


def truncate_words(pieces: Sequence[Sequence[int]], room: int) -> list[Sequence[int]]:
    """Keep the words before the first one that does not fit in full.

    If the first word with subwords is too long by itself, its start is kept, so that no post is
    left without subwords.

    Args:
        pieces: Subwords of every word.
        room: Number of subwords that fit.

    Returns:
        Subwords of the words that are kept.
    """
    kept: list[Sequence[int]] = []
    room_left = room
    for word in pieces:
        has_subwords = room_left < room
        if has_subwords and len(word) > room_left:
            break
        kept.append(word[:room_left])
        room_left -= len(kept[-1])
    return kept


def truncate_pair(
    pieces: Sequence[Sequence[int]], relation: Relation, room: int
) -> list[Sequence[int] | None]:
    """Cut off words so that both entities of a relation are kept.

    Whole words are cut off from the end of the post, then from its start, and then from the right
    between the entities. Only entities that are too long by themselves lose subwords, from their
    ends, the later entity first. Both keep at least their first subword.

    Args:
        pieces: Subwords of every word.
        relation: Head and tail.
        room: Number of subwords that fit.

    Returns:
        Subwords of every word; None for a word that is cut off.
    """
    kept: list[Sequence[int] | None] = list(pieces)
    excess = sum(map(len, pieces)) - room
    for index in _words_outside(relation, len(pieces)):
        if excess <= 0:
            return kept
        excess -= len(pieces[index])
        kept[index] = None
    first_words = (relation.head.start, relation.tail.start)
    for index in sorted(_entity_words(relation), reverse=True):
        if excess <= 0:
            return kept
        length = len(pieces[index])
        shortest = min(1, length) if index in first_words else 0
        kept_length = max(length - excess, shortest)
        excess -= length - kept_length
        kept[index] = pieces[index][:kept_length]
    return kept


def _entity_words(relation: Relation) -> set[int]:
    """Return the words of head and tail."""
    head = range(relation.head.start, relation.head.end)
    tail = range(relation.tail.start, relation.tail.end)
    return {*head, *tail}


def _words_outside(relation: Relation, length: int) -> list[int]:
    """Return the words outside the entities in the order in which they are cut off.

    These are the words after the entities, before them, and between them.
    """
    entity_words = _entity_words(relation)
    first, last = min(entity_words), max(entity_words)
    after = range(length - 1, last, -1)
    before = range(first)
    between = [word for word in range(last, first, -1) if word not in entity_words]
    return [*after, *before, *between]
