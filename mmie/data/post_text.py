"""Text of a JSON post: its words, and spans that count words or characters."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from mmie.data.parsing import (
    MalformedLine,
    Record,
    check_name,
    check_span,
    check_words,
    optional_value,
)
from mmie.data.words import split_offsets
from mmie.types import Entity


@dataclass(frozen=True, slots=True)
class PostText:
    """Words of a JSON post, and the spans that count in them.

    Attributes:
        words: The words.
        text: Text that holds the words; None if the post gives its words alone.
        offsets: First and last (exclusive) character of each word in the text.
    """

    words: tuple[str, ...]
    text: str | None = None
    offsets: tuple[tuple[int, int], ...] = ()

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Read ``words``, ``text`` or both of a post.

        The words of a text are split where an entity, or the head or tail of a relation, begins or
        ends within them.

        Raises:
            MalformedLine: The post has neither or no word, or the text does not consist of the
                words.
        """
        text = optional_value(record, "text", str, "a string")
        if record.get("words") is not None:
            words = check_words(record["words"])
            return cls(words) if text is None else cls(words, text, locate_words(words, text))
        if text is None:
            raise MalformedLine("'words' or 'text'", "neither: mmie convert reads other keys")
        offsets = tuple(split_at(split_offsets(text), _gold_bounds(record, text)))
        return cls(check_words([text[start:end] for start, end in offsets]), text, offsets)

    def parse_span(self, record: Record, description: str) -> tuple[int, int]:
        """Read ``start`` and ``end`` of an object as word offsets.

        Blanks at both ends of characters are left out.

        Args:
            record: The object.
            description: What the span is, for the error.

        Raises:
            MalformedLine: The offsets lie outside the post or do not fit its words.
        """
        length = len(self.words) if self.text is None else len(self.text)
        start, end = check_span(record.get("start"), record.get("end"), length, description)
        if self.text is None:
            return start, end
        found = f"characters {start} to {end}, {self.text[start:end]!r}"
        start, end = strip_span(self.text, start, end)
        if start == end:
            raise MalformedLine(f"{description} with characters that are not blank", found)
        starts, ends = zip(*self.offsets, strict=True)
        if start in starts and end in ends:
            return starts.index(start), ends.index(end) + 1
        # behind the characters that are split into words
        nearest = self.nearest_word(end if start in starts else start)
        first, last = self.offsets[nearest]
        raise MalformedLine(
            f"{description} to start and end where words do",
            f"{found}; the nearest word is {self.words[nearest]!r}, {first} to {last}",
        )

    def parse_entity(self, record: Record) -> Entity:
        """Read an entity.

        Raises:
            MalformedLine: The type is missing, or the span does not fit the words.
        """
        kind = check_name(record.get("type"), "an entity with a 'type'")
        start, end = self.parse_span(record, f"an entity {kind}")
        return Entity(start, end, kind)

    def nearest_word(self, position: int) -> int:
        """Return the index of the first word that starts or ends nearest to a character."""
        distances = [min(abs(start - position), abs(end - position)) for start, end in self.offsets]
        return distances.index(min(distances))


def locate_words(words: Sequence[str], text: str) -> tuple[tuple[int, int], ...]:
    """Return the first and last (exclusive) character of each word in a text that consists of them.

    Raises:
        MalformedLine: Something other than spaces stands in front of a word.

    >>> locate_words(["It's", "me"], "It's  me")
    ((0, 4), (6, 8))
    """
    offsets = []
    position = 0
    for word in words:
        start = position
        while not text.startswith(word, start):
            if not text[start : start + 1].isspace():
                raise MalformedLine(
                    f"'text' to consist of 'words', with {word!r} next",
                    repr(text[position : position + len(word) + 1]),
                )
            start += 1
        position = start + len(word)
        offsets.append((start, position))
    return tuple(offsets)


def _gold_bounds(record: Record, text: str) -> set[int]:
    """Return the characters at which entities, heads and tails of a post begin and end."""
    spans: list[object] = []
    for key in ("entities", "relations"):
        items = record.get(key)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                spans += [item] if key == "entities" else [item.get("head"), item.get("tail")]
    bounds: set[int] = set()
    for span in spans:
        if isinstance(span, dict):
            start, end = span.get("start"), span.get("end")
            if type(start) is int and type(end) is int and 0 <= start < end <= len(text):
                bounds.update(strip_span(text, start, end))
    return bounds


def strip_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span of a text without the blanks at its ends.

    >>> strip_span(" Ann left", 0, 5), strip_span("a  b", 1, 3)
    ((1, 4), (3, 3))
    """
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def split_at(
    offsets: Iterable[tuple[int, int]], bounds: Iterable[int]
) -> Iterator[tuple[int, int]]:
    """Yield the offsets of words, split at some characters.

    Args:
        offsets: First and last (exclusive) character of each word.
        bounds: Characters at which words begin or end.

    >>> list(split_at([(0, 5), (6, 9)], {0, 2, 6}))
    [(0, 2), (2, 5), (6, 9)]
    """
    ordered = sorted(bounds)
    for start, end in offsets:
        inner = ordered[bisect_right(ordered, start) : bisect_left(ordered, end)]
        yield from pairwise([start, *inner, end])
