"""Windows of posts that are longer than the encoder reads, and the merging of their predictions.

A long post is read in windows that overlap by a quarter to a half of what the encoder reads. The
first begins with the post, and each is as long as fits. The next begins with a sentence, if one
begins where the overlap may, and otherwise where the overlap is a quarter.

Two neighbours share their overlap: the words up to its middle, counted in subwords, belong to the
earlier window, the others to the later one. So each word belongs to the window in which it lies
deepest. An entity is taken from the window that its middle word belongs to. Of two entities from
neighbouring windows that share a word, the more probable one is taken.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from mmie.tags import choose_disjoint, middle_word
from mmie.types import Entity, Post, Prediction

LongPosts = Literal["windows", "truncate", "error"]
"""What becomes of posts that are longer than the encoder reads.

They are read in windows, cut off at the end, or an error.
"""
_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")  # noqa: RUF001  # Chinese and Japanese ones
"""Last characters of a word that ends a sentence."""


@dataclass(frozen=True, slots=True)
class TextWindow:
    """Window of a post's words.

    Attributes:
        post: The whole post.
        start: First word of the window.
        end: Last word (exclusive) of the window.
        core_start: First of the words that belong to the window.
        core_end: Last (exclusive) of the words that belong to the window.
        number: Number of the window in its post, from 0.
    """

    post: Post
    start: int
    end: int
    core_start: int
    core_end: int
    number: int = 0

    def owns(self, entity: Entity) -> bool:
        """Tell whether an entity, given by words of the whole post, is taken from this window."""
        return self.core_start <= middle_word(entity) < self.core_end

    def cut_out(self) -> Post:
        """Return a post of the window's words, with the gold entities that belong to it."""
        owned = [entity for entity in self.post.entities if self.owns(entity)]
        return replace(
            self.post,
            words=self.post.words[self.start : self.end],
            entities=tuple(shift_entity(entity, -self.start) for entity in owned),
            relations=(),
            text=None,
            offsets=(),
        )

    def visible_entities(self) -> list[Entity]:
        """Return the parts of all gold entities that lie in the window, by its own words."""
        visible = []
        for entity in self.post.entities:
            start, end = max(entity.start, self.start), min(entity.end, self.end)
            if start < end:
                visible.append(Entity(start - self.start, end - self.start, entity.type))
        return visible


def shift_entity(entity: Entity, words: int) -> Entity:
    """Move an entity by a number of words."""
    return Entity(entity.start + words, entity.end + words, entity.type)


def split_windows(post: Post, lengths: Sequence[int], room: int) -> list[TextWindow]:
    """Split a post into windows.

    Args:
        post: The post.
        lengths: Number of subwords of each word. Of a word with more than ``room`` the start is
            read.
        room: Number of subwords that the encoder reads.

    Returns:
        The windows in order: a single one if the post fits.
    """
    lengths = [min(length, room) for length in lengths]
    starts, ends = [0], [_fill(lengths, 0, room)]
    while ends[-1] < len(lengths):
        starts.append(_next_start(post, lengths, starts[-1], ends[-1], room))
        ends.append(_fill(lengths, starts[-1], room))
    borders = [0]
    for end, (_, start) in zip(ends, pairwise(starts), strict=False):
        borders.append(max(borders[-1], _middle(lengths, start, end)))
    borders.append(len(lengths))
    windows = []
    bounds = zip(starts, ends, pairwise(borders), strict=True)
    for number, (start, end, core) in enumerate(bounds):
        windows.append(TextWindow(post, start, end, *core, number))
    return windows


def merge_windows(
    windows: Iterable[TextWindow], predictions: Iterable[Prediction], name: str
) -> Prediction:
    """Merge the entities that were found in the windows of a post.

    Args:
        windows: The windows.
        predictions: The prediction for each window, by its own words.
        name: Id of the post.

    Returns:
        Disjoint entities in their order, by words of the post. Their probabilities are those in the
        window that each was taken from.
    """
    found: list[tuple[float, Entity]] = []
    for window, prediction in zip(windows, predictions, strict=True):
        probabilities = prediction.probabilities or (1.0,) * len(prediction.entities)
        for entity, probability in zip(prediction.entities, probabilities, strict=True):
            moved = shift_entity(entity, window.start)
            if window.owns(moved):
                found.append((probability, moved))
    kept = choose_disjoint(found)
    entities = tuple(entity for _, entity in kept)
    return Prediction(name, entities, probabilities=tuple(probability for probability, _ in kept))


def _fill(lengths: Sequence[int], start: int, room: int) -> int:
    """Return the last word (exclusive) of a window that begins at a word."""
    end, room_left = start, room
    while end < len(lengths) and lengths[end] <= room_left:
        room_left -= lengths[end]
        end += 1
    return end


def _next_start(post: Post, lengths: Sequence[int], start: int, end: int, room: int) -> int:
    """Return the first word of the window that follows the one from ``start`` to ``end``.

    The overlap leaves room for the next word, so that every window ends later than the one before.
    """
    most = min(room // 2, room - lengths[end])
    least = min(room // 4, most)
    overlap, shortest = 0, end
    for index in range(end - 1, start, -1):
        if overlap + lengths[index] > most:
            break
        if overlap < least:
            shortest = index
        overlap += lengths[index]
        if overlap >= least and _begins_sentence(post, index):
            return index
    return shortest


def _begins_sentence(post: Post, index: int) -> bool:
    """Tell whether a sentence or a line begins with a word."""
    if post.words[index - 1].endswith(_SENTENCE_ENDS):
        return True
    if post.text is None or not post.offsets:
        return False
    return "\n" in post.text[post.offsets[index - 1][1] : post.offsets[index][0]]


def _middle(lengths: Sequence[int], start: int, end: int) -> int:
    """Return the word before which lies the middle of the subwords from one word to another."""
    total, before = sum(lengths[start:end]), 0
    for index in range(start, end):
        if 2 * before >= total:
            return index
        before += lengths[index]
    return end
