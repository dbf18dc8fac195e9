"""Posts to subword ids: tokenised once, with the place of every word, of the entity markers and of the context."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        word_starts: For each word up to the last that was left in, the position of its first subword; 0 if it has
            none, -1 if the word was cut off.
        token_words: For each subword the place of its word; -1 for special tokens, markers and context.
        markers: Positions of the head's and the tail's opening marker; empty for a post without relation.
        context_length: Subwords of the second segment, the post's context, with its separators; they stand at the end.
    """

    input_ids: list[int]
    word_starts: list[int]
    token_words: list[int]
    markers: tuple[int, ...] = ()
    context_length: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def token_type_ids(self) -> list[int]:
        """For each subword 0 in the post's own text, 1 in its context."""
        return [0] * (len(self) - self.context_length) + [1] * self.context_length

    @property
    def num_words(self) -> int:
        """Words that were left in."""
        return sum(start >= 0 for start in self.word_starts)


class WordTokenizer:
    """A Hugging Face tokenizer that keeps words apart and knows the entity markers.

    A word may leave no subword at all (variation selectors, zero-width characters): it keeps its place.

    Args:
        tokenizer: A fast tokenizer; the markers are added where its vocabulary lacks them.
        max_tokens: Most subwords of a post, special tokens and markers included.

    Raises:
        TokenizerError: The tokenizer is slow, knows no words, or lacks a special token; or ``max_tokens`` is too small.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int = 128) -> None:
        if not tokenizer.is_fast:
            raise TokenizerError(
                f"tokenizer '{tokenizer.name_or_path}' ({type(tokenizer).__name__}) is not a fast one and cannot tell "
                "words apart: name a text encoder that has a tokenizer.json"
            )
        if max_tokens < 8:
            raise TokenizerError(
                f"max_tokens is {max_tokens}: at least 8 are needed for one word and its markers"
            )
        tokenizer.add_tokens(list(MARKERS), special_tokens=True)
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        vocabulary = tokenizer.get_vocab()
        if len(vocabulary) == len(
            tokenizer.get_added_vocab()
        ):  # transformers makes one of a config alone
            raise TokenizerError(
                f"tokenizer '{tokenizer.name_or_path}' has no vocabulary: name a folder that holds its tokenizer.json"
            )
        self._markers = [vocabulary[marker] for marker in MARKERS]
        self._first, self._last = self._special_id("cls_token"), self._special_id("sep_token")
        self.pad_id = self._special_id("pad_token")
        added = tokenizer.num_special_tokens_to_add(
            pair=True
        ) - tokenizer.num_special_tokens_to_add(pair=False)
        self._before_context = [self._last] * (added - 1)  # one in RoBERTa's family, none in BERT's
        self._special = {*self._markers, *tokenizer.all_special_ids} - {tokenizer.unk_token_id}

    @classmethod
    def from_source(cls, source: str | Path, max_tokens: int = 128) -> Self:
        """The tokenizer that belongs to a text encoder.

        Raises:
            TokenizerError: ``source`` is no tokenizer's folder here and cannot be had from the hub.
        """
        return cls(_load(str(source)), max_tokens)

    @classmethod
    def from_files(cls, files: Mapping[str, str], max_tokens: int = 128) -> Self:
        """The tokenizer whose files `to_files` gave.

        Raises:
            TokenizerError: The files are not a tokenizer's.
        """
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                _write_file(Path(folder), name, text)
            return cls(_load(folder), max_tokens)

    def to_files(self) -> dict[str, str]:
        """All files of the tokenizer, name to text: what a checkpoint carries."""
        with tempfile.TemporaryDirectory() as folder:
            self.tokenizer.save_pretrained(folder)
            return {
                path.name: path.read_text(encoding="utf-8")
                for path in sorted(Path(folder).glob("*.json"))
            }

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary, markers included."""
        return len(self.tokenizer)

    @property
    def mask_id(self) -> int | None:
        """Id of the token that hides another one; None if there is none."""
        number: int | None = self.tokenizer.mask_token_id
        return number

    def split(self, texts: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        """Subword ids of every word of every text; an empty list for a word that leaves none.

        A special token that a post spells ("[SEP]", "<s>") is text like any other, as far as the tokenizer can spell
        it by other subwords; one that it cannot spell so leaves none.
        """
        if not texts:
            return []
        encoded = self.tokenizer(
            [list(words) for words in texts],
            is_split_into_words=True,
            add_special_tokens=False,
            split_special_tokens=True,
            verbose=False,
        )
        pieces: list[list[list[int]]] = [[[] for _ in words] for words in texts]
        for row, ids in enumerate(encoded["input_ids"]):
            for piece, word in zip(ids, encoded.word_ids(row), strict=True):
                if (
                    piece not in self._special
                ):  # sentencepiece models know "<s>" as an ordinary piece, too
                    pieces[row][word].append(piece)
        return pieces

    def split_contexts(self, contexts: Sequence[str | None]) -> list[list[int]]:
        """Subword ids of every context, without special tokens; an empty list for a post that has none.

        Of a long one only the first ``max_tokens`` words are looked at, since no more can be read. Special tokens that
        it spells are text, as in `split`; what cannot be written as UTF-8 becomes ``?``.
        """
        texts = [(context or "").encode(errors="replace").decode() for context in contexts]
        pieces = self.split(
            [text.split(maxsplit=self.max_tokens)[: self.max_tokens] for text in texts]
        )
        return [[piece for word in words for piece in word][: self.max_tokens] for words in pieces]

    def encode(self, pieces: Sequence[Sequence[int]], context: Sequence[int] = ()) -> EncodedText:
        """``[CLS]`` words ``[SEP]``; words from the first that does not fit in full are cut off.

        A first word that is too long by itself is kept in part, so that no post is without subwords. A context stands
        behind, as the tokenizer's second segment (``context [SEP]``, ``</s> context </s>``), cut to the room that the
        words leave; where there is none for any of it, there is no second segment.

        Args:
            pieces: Subwords of every word.
            context: Subwords of the context.
        """
        budget = self.max_tokens - 2
        kept: list[Sequence[int]] = []
        for word in pieces:
            if budget < self.max_tokens - 2 and len(word) > budget:
                break
            kept.append(word[:budget])
            budget -= len(kept[-1])
        return self._add_context(self._join(kept, []), context)

    def encode_pair(
        self, pieces: Sequence[Sequence[int]], relation: Relation, context: Sequence[int] = ()
    ) -> EncodedText:
        """The same with markers around both entities of a relation; overlapping entities keep all four.

        Whole words are cut off from the end of the post, if that does not do from its start, and then from the right
        between the entities. Only entities that are too long by themselves lose subwords, from their ends, the later
        one first; both keep at least the first.

        Args:
            pieces: Subwords of every word.
            relation: Head and tail.
            context: Subwords of the context.
        """
        kept: list[Sequence[int] | None] = list(pieces)
        excess = sum(map(len, pieces)) - (self.max_tokens - 2 - len(MARKERS))
        for word in _expendable(relation, len(pieces)):
            if excess <= 0:
                break
            excess -= len(pieces[word])
            kept[word] = None
        for word in sorted(_entity_words(relation), reverse=True):
            if excess <= 0:
                break
            spared = 1 if word in (relation.head.start, relation.tail.start) else 0
            left = max(len(pieces[word]) - excess, min(spared, len(pieces[word])))
            excess -= len(pieces[word]) - left
            kept[word] = pieces[word][:left]
        head_open, head_close, tail_open, tail_close = self._markers
        head, tail = relation.head, relation.tail
        marks = [
            (head.end, head_close),
            (tail.end, tail_close),
            (head.start, head_open),
            (tail.start, tail_open),
        ]
        return self._add_context(self._join(kept, marks), context)

    def _join(
        self, words: Sequence[Sequence[int] | None], marks: Sequence[tuple[int, int]]
    ) -> EncodedText:
        """``[CLS]`` words ``[SEP]`` with markers before the words of their places.

        Args:
            words: Subwords of every word; None for one that was cut off.
            marks: Places and ids of the markers, in the order in which they stand at the same place.
        """
        text = EncodedText([self._first], [], [-1])
        opened: dict[int, int] = {}
        at: dict[int, list[int]] = {}
        for position, marker in marks:
            at.setdefault(position, []).append(marker)
        end = len(words)
        while end and words[end - 1] is None:
            end -= 1
        for place, word in enumerate([*words[:end], None]):
            for marker in at.get(place, ()):
                opened[marker] = len(text)
                text.input_ids.append(marker)
                text.token_words.append(-1)
            text.word_starts.append(-1 if word is None else len(text) if word else 0)
            text.input_ids.extend(word or [])
            text.token_words.extend([place] * len(word or []))
        text.word_starts.pop()  # the end is no word
        text.input_ids.append(self._last)
        text.token_words.append(-1)
        text.markers = tuple(
            opened[marker] for marker in (self._markers[0], self._markers[2]) if marker in opened
        )
        return text

    def _add_context(self, text: EncodedText, context: Sequence[int]) -> EncodedText:
        """The text with as much of the context behind it as there is room for."""
        room = self.max_tokens - len(text) - len(self._before_context) - 1
        if room > 0 and context:
            segment = [*self._before_context, *context[:room], self._last]
            text.input_ids += segment
            text.token_words += [-1] * len(segment)
            text.context_length = len(segment)
        return text

    def _special_id(self, name: str) -> int:
        """Id of a special token.

        Raises:
            TokenizerError: The tokenizer has none of this name.
        """
        number = getattr(self.tokenizer, f"{name}_id")
        if number is None:
            raise TokenizerError(
                f"{type(self.tokenizer).__name__} has no {name}: expected an encoder's tokenizer"
            )
        return int(number)


def _write_file(folder: Path, name: object, text: object) -> None:
    """Write a file that a checkpoint says is a tokenizer's.

    Raises:
        TokenizerError: It is no JSON file of this folder.
    """
    is_name = (
        isinstance(name, str)
        and Path(name).name == name
        and name not in ("", "..")
        and "\0" not in name
    )
    if not is_name or not isinstance(text, str):
        raise TokenizerError(
            f"the checkpoint's tokenizer has a file {name!r}: expected a text of its folder"
        )
    (folder / str(name)).write_text(text, encoding="utf-8", errors="replace")


def _load(source: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or of the hub; one that brings code of its own is not run.

    Raises:
        TokenizerError: It cannot be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(source, add_prefix_space=True, trust_remote_code=False)
    except Exception as error:  # transformers raises almost anything on damaged files
        raise TokenizerError(
            f"tokenizer '{source}' is no tokenizer's folder and the hub does not have it or cannot be reached: "
            "name a folder that holds its tokenizer.json"
        ) from error


def _entity_words(relation: Relation) -> set[int]:
    """Words of head and tail."""
    return {
        word
        for entity in (relation.head, relation.tail)
        for word in range(entity.start, entity.end)
    }


def _expendable(relation: Relation, length: int) -> list[int]:
    """Words that may be cut off, first the first: those after the entities, before, and between them."""
    words = _entity_words(relation)
    after, before = range(length - 1, max(words), -1), range(min(words))
    between = [word for word in range(max(words), min(words), -1) if word not in words]
    return [*after, *before, *between]
