"""Relations in posts that are longer than a method of relations reads.

A pair of entities is read in a window of its own that holds both, with as many subwords before the
first as behind the last, as far as the text has them. A pair that lies farther apart than a window
is not read.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from mmie.data.long_posts import TextWindow, shift_entity
from mmie.inference.pairs import tail_types
from mmie.types import NO_RELATION, Entity, Post, Relation


class LongText(NamedTuple):
    """Text that is longer than a method of relations reads.

    Attributes:
        positions: Number of subwords before each word, and of all words.
        room: Number of subwords that are read at once.
    """

    positions: Sequence[int]
    room: int

    def distance(self, relation: Relation) -> int:
        """Return the number of subwords from the first entity's start to the last one's end."""
        first, last = _extent(relation)
        return self.positions[last] - self.positions[first]

    def fits(self, relation: Relation) -> bool:
        """Tell whether both entities of a relation, and all words between them, fit a window."""
        return self.distance(relation) <= self.room

    def window(self, post: Post, relation: Relation) -> TextWindow:
        """Return the window in which a relation that fits is read."""
        first, _ = _extent(relation)
        spare = self.room - self.distance(relation)
        start = bisect_left(self.positions, self.positions[first] - spare // 2)
        end = bisect_right(self.positions, self.positions[start] + self.room) - 1
        if end == len(post.words):
            start = bisect_left(self.positions, self.positions[end] - self.room)
        start = min(start, first)
        return TextWindow(post, start, end, start, end)


def choose_near_pairs(
    entities: Sequence[Entity], allowed: set[tuple[str, str]] | None, text: LongText, limit: int
) -> tuple[tuple[Relation, ...], int]:
    """Choose the pairs of a long post's entities that a method is asked about.

    Args:
        entities: Entities of the post.
        allowed: Types of head and tail that are paired, in lower case; None pairs all.
        text: The text.
        limit: Largest number of pairs. If more fit a window, those of the nearest entities are
            chosen.

    Returns:
        The pairs by their heads, then by their tails, and the number of those that fit a window.
    """
    count = sum(1 for _ in _near_pairs(entities, allowed, text))
    pairs = _near_pairs(entities, allowed, text)
    if count <= limit:
        return tuple(pairs), count
    keyed = ((text.distance(pair), index, pair) for index, pair in enumerate(pairs))
    nearest = heapq.nsmallest(limit, keyed, key=lambda item: item[:2])
    nearest.sort(key=lambda item: item[1])
    return tuple(pair for _, _, pair in nearest), count


def cut_out_pair(window: TextWindow, relation: Relation) -> Post:
    """Return a post of a window's words with one relation, both by the window's own words."""
    head, tail = (shift_entity(entity, -window.start) for entity in (relation.head, relation.tail))
    own_relation = Relation(head, tail, relation.label)
    words = window.post.words[window.start : window.end]
    return replace(
        window.post, words=words, entities=(), relations=(own_relation,), text=None, offsets=()
    )


def _near_pairs(
    entities: Sequence[Entity], allowed: set[tuple[str, str]] | None, text: LongText
) -> Iterator[Relation]:
    """Yield the allowed pairs that fit a window, by their heads, then by their tails."""
    ordered = sorted(entities)
    starts = [text.positions[entity.start] for entity in ordered]
    types = [entity.type.lower() for entity in ordered]
    tails_of = tail_types(set(types), allowed)
    for head_index, head in enumerate(ordered):
        low = bisect_left(starts, text.positions[head.end] - text.room)
        high = bisect_right(starts, text.positions[head.start] + text.room)
        for tail_index in range(low, high):
            if tail_index == head_index or types[tail_index] not in tails_of[types[head_index]]:
                continue
            pair = Relation(head, ordered[tail_index], NO_RELATION)
            if text.fits(pair):
                yield pair


def _extent(relation: Relation) -> tuple[int, int]:
    """Return the first word of a relation's entities, and the last one (exclusive)."""
    head, tail = relation.head, relation.tail
    return min(head.start, tail.start), max(head.end, tail.end)
