"""Splitting of plain text into words with their offsets."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, islice

_CJK = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003fffd"
)
"""Ranges of Chinese and Japanese characters."""
_MARKS = "".join(
    re.escape(character)
    for character in map(chr, chain(range(0x20000), range(0xE0000, 0xE0200)))
    if unicodedata.category(character).startswith("M")
)
"""Combining marks: vowel signs, accents, variation selectors. They extend the character before."""

_JOINERS = "\u200c\u200d"
"""Characters between letters of one word, in Persian, Sinhala or Hindi, and in emoji sequences."""
_EXTENSIONS = rf"{_MARKS}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
"""Characters that extend the symbol before: marks, skin tones, and tags of regional flags."""

_LETTERS = rf"(?:(?![{_CJK}])\w[{_MARKS}{_JOINERS}]*)+"
_ADDRESS_START = rf"(?:(?i:https?://)(?:(?=[{_CJK}])[\w.-]+)?|(?i:www\.))"
_ADDRESS = rf"{_ADDRESS_START}(?:[!-~{_MARKS}]|(?![!-~{_CJK}])\w)*(?<=[\w/{_MARKS}])"
_EMOJI = rf"[^\s\w][{_EXTENSIONS}]*(?:\u200d[^\s\w][{_EXTENSIONS}]*)*"
_WORD = re.compile(
    rf"{_ADDRESS}|(?<!\w)[@#]{_LETTERS}|{_LETTERS}|[\U0001f1e6-\U0001f1ff]{{2}}|{_EMOJI}"
    rf"|\S[{_MARKS}]*"
)


MAX_CHARACTERS, MAX_WORDS = 100_000, 10_000
"""Most characters and words of a text that are split; encoders read at most some thousand words."""


def split_words(text: str) -> list[tuple[str, int, int]]:
    """Split a text into words, each with its first and last (exclusive) character.

    Links, ``@mentions`` and ``#hashtags`` stay whole. Runs of letters and digits, with the joiners
    between them, are words. Every Chinese or Japanese character, every emoji (also one of several
    characters), and everything else that is not a space, is a word by itself. Other scripts without
    spaces are not split.

    The end of a text of more than `MAX_CHARACTERS` characters or `MAX_WORDS` words is left out.

    >>> split_words("It's @ann!")
    [('It', 0, 2), ("'", 2, 3), ('s', 3, 4), ('@ann', 5, 9), ('!', 9, 10)]
    >>> [word for word, _, _ in split_words("东京 https://t.co/a1, naïve")]
    ['东', '京', 'https://t.co/a1', ',', 'naïve']
    """
    matches = islice(_WORD.finditer(text, 0, MAX_CHARACTERS), MAX_WORDS)
    return [(match.group(), match.start(), match.end()) for match in matches]


@lru_cache(maxsize=1)  # the steps of reading a post ask for the same text one after the other
def split_offsets(text: str) -> tuple[tuple[int, int], ...]:
    """Return the first and last (exclusive) character of each word of `split_words`.

    >>> split_offsets("Ann left")
    ((0, 3), (4, 8))
    """
    return tuple((start, end) for _, start, end in split_words(text))


def join_words(words: Iterable[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Join words by spaces.

    Returns:
        The text, and the first and last (exclusive) character of each word in it.

    >>> join_words(["It's", "me"])
    ("It's me", ((0, 4), (5, 7)))
    """
    listed = list(words)
    offsets = []
    start = 0
    for word in listed:
        offsets.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(listed), tuple(offsets)


def find_unsplit(text: str, offsets: Sequence[tuple[int, int]]) -> int | None:
    """Return the number of characters that `split_words` read of a longer text.

    Args:
        text: The text.
        offsets: First and last (exclusive) character of the words that it was split into.

    Returns:
        The number of characters; None if the whole text was read.
    """
    has_all_words = len(offsets) >= MAX_WORDS
    if not has_all_words and len(text) <= MAX_CHARACTERS:
        return None
    end = offsets[-1][1] if offsets else 0
    if not text[end:].strip():
        return None
    return end if has_all_words else MAX_CHARACTERS
