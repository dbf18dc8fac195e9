"""Posts to subword ids: tokenised once, with the place of every word and of the entity markers."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from mmie.types import MARKERS, MmieError, Relation


class TokenizerError(MmieError, ValueError):
    """A tokenizer that cannot be had, or that cannot tell which subwords belong to which word."""


@dataclass(slots=True)
class EncodedText:
    """Subwords of one post.

    Attributes:
        input_ids: Subword ids, special tokens included.
        word_starts: For each word that was left in, the position of its first subword, 0 if it has none.
        text_mask: True where a subword belongs to one of the post's own words.
        markers: Positions of the head's and the tail's opening marker; empty for a post without relation.
    """

    input_ids: list[int]
    word_starts: list[int]
    text_mask: list[bool]
    markers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)


class WordTokenizer:
    """A Hugging Face tokenizer that keeps words apart and knows the entity markers.

    A word may leave no subword at all (variation selectors, zero-width characters): it keeps its place.

    Args:
        tokenizer: A fast tokenizer; the markers are added where its vocabulary lacks them.
        max_tokens: Most subwords of a post, special tokens and markers included.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int = 128) -> None:
        if not tokenizer.is_fast:
            raise TokenizerError(f"{type(tokenizer).__name__} is not a fast tokenizer: its words cannot be told apart")
        if max_tokens < 8:
            raise TokenizerError(f"max_tokens is {max_tokens}: at least 8 are needed for one word and its markers")
        tokenizer.add_special_tokens({"additional_special_tokens": list(MARKERS)})
        tokenizer.backend_tokenizer.encode_special_tokens = True  # a post that says "[SEP]" says just that
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self._markers: list[int] = tokenizer.convert_tokens_to_ids(list(MARKERS))
        self._first = int(tokenizer.cls_token_id)
        self._last = int(tokenizer.sep_token_id)

    @classmethod
    def from_source(cls, source: str | Path, max_tokens: int = 128) -> Self:
        """The tokenizer that belongs to a text encoder.

        Raises:
            TokenizerError: ``source`` is no folder here and cannot be had from the hub.
        """
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, add_prefix_space=True)
        except (OSError, ValueError) as error:
            raise TokenizerError(
                f"tokenizer '{source}' is no local folder and the hub does not have it or cannot be reached: "
                "name a folder that holds its tokenizer.json"
            ) from error
        return cls(tokenizer, max_tokens)

    @classmethod
    def from_files(cls, files: Mapping[str, str], max_tokens: int = 128) -> Self:
        """The tokenizer whose files `to_files` gave."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / Path(name).name).write_text(text, encoding="utf-8")
            return cls(AutoTokenizer.from_pretrained(folder), max_tokens)

    def to_files(self) -> dict[str, str]:
        """All files of the tokenizer, name to text: what a checkpoint carries."""
        with tempfile.TemporaryDirectory() as folder:
            self.tokenizer.save_pretrained(folder)
            return {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())}

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary, markers included."""
        return len(self.tokenizer)

    @property
    def pad_id(self) -> int:
        """Id that fills up a batch."""
        return int(self.tokenizer.pad_token_id)

    def split(self, texts: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        """Subword ids of every word of every text; an empty list for a word that leaves none."""
        if not texts:
            return []
        encoded = self.tokenizer(
            [list(words) for words in texts], is_split_into_words=True, add_special_tokens=False, verbose=False
        )
        pieces: list[list[list[int]]] = [[[] for _ in words] for words in texts]
        for row, ids in enumerate(encoded["input_ids"]):
            for piece, word in zip(ids, encoded.word_ids(row), strict=True):
                pieces[row][word].append(piece)
        return pieces

    def encode(self, pieces: Sequence[Sequence[int]]) -> EncodedText:
        """``[CLS]`` words ``[SEP]``; words from the first that does not fit in full are cut off.

        A first word that is too long by itself is kept in part, so that no post is without words.
        """
        budget = self.max_tokens - 2
        ids, starts, used = [self._first], [], 0
        for word in pieces:
            if used + len(word) > budget and starts:
                break
            kept = word[: budget - used]
            starts.append(len(ids) if kept else 0)
            ids.extend(kept)
            used += len(kept)
        return EncodedText([*ids, self._last], starts, [False, *([True] * used), False])

    def encode_pair(self, pieces: Sequence[Sequence[int]], relation: Relation) -> EncodedText:
        """The same with markers around both entities of a relation; overlapping entities keep all four.

        Words are cut off from the end of the post, and if that does not do, from its start, so that both entities
        stay. Only entities that are too long by themselves lose subwords, from their ends.
        """
        first = min(relation.head.start, relation.tail.start)
        last = max(relation.head.end, relation.tail.end)
        kept = [list(word) for word in pieces]
        excess = sum(map(len, kept)) - (self.max_tokens - 2 - len(MARKERS))
        order = chain(
            range(len(kept) - 1, last - 1, -1), range(first), _between(relation), range(last - 1, first - 1, -1)
        )
        for word in order:
            if excess <= 0:
                break
            keep = max(0, len(kept[word]) - excess)
            excess -= len(kept[word]) - keep
            kept[word] = kept[word][:keep]
        return self._mark(kept, relation)

    def _mark(self, pieces: Sequence[Sequence[int]], relation: Relation) -> EncodedText:
        """Put the markers before and after the words of head and tail."""
        head_open, head_close, tail_open, tail_close = self._markers
        head, tail = relation.head, relation.tail
        placed = [(head.end, head_close), (tail.end, tail_close), (head.start, head_open), (tail.start, tail_open)]
        ids, starts, mask = [self._first], [], [False]
        opened: dict[int, int] = {}
        for position in range(len(pieces) + 1):
            for marker in [marker for place, marker in placed if place == position]:
                opened[marker] = len(ids)
                ids.append(marker)
                mask.append(False)
            if position < len(pieces):
                starts.append(len(ids) if pieces[position] else 0)
                ids.extend(pieces[position])
                mask.extend([True] * len(pieces[position]))
        return EncodedText([*ids, self._last], starts, [*mask, False], (opened[head_open], opened[tail_open]))


def _between(relation: Relation) -> range:
    """Words between the two entities, from the right; none if they touch or overlap."""
    first, second = sorted((relation.head, relation.tail))
    return range(second.start - 1, first.end - 1, -1)
