"""Encoding of posts as subword ids with the positions of words, entity markers and context."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from transformers import PreTrainedTokenizerBase

from mmie.data.slow_tokenizers import SLOW_TOKENIZERS, TokenizerError, WordSplitter
from mmie.data.tokenizer_files import (
    begin_words_with_blanks,
    load_tokenizer,
    tokenizer_from_files,
    tokenizer_to_files,
)
from mmie.data.truncation import truncate_pair, truncate_words
from mmie.types import MARKERS, Relation
from mmie.utils.text import replace_surrogates

_MAX_PIECE = 100
"""Characters of a word that are split for each subword that an encoder reads."""
_MAX_SLOW_PIECE = 4
"""The same for a slow tokenizer, whose time grows with the square of a word's length."""
_MIN_TOKENS = 8
"""Fewest tokens that hold one word with special tokens and the markers of two entities."""


@dataclass(slots=True)
class EncodedText:
    """Subwords of one post.

    Attributes:
        input_ids: Subword ids, special tokens included.
        word_starts: Position of the first subword of each word up to the last that was kept; 0 for
            a word without subwords, -1 for a word that was cut off.
        token_words: Index of each subword's word; -1 for special tokens, markers and context.
        markers: Positions of the head's and the tail's opening marker. Empty without a relation.
        context_length: Subwords of the second segment at the end, which is the post's context with
            its separators.
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
        """0 for each subword of the post's own text, 1 for each of its context."""
        return [0] * (len(self) - self.context_length) + [1] * self.context_length

    @property
    def num_words(self) -> int:
        """Number of words that were kept."""
        return sum(start >= 0 for start in self.word_starts)

    def append_word(self, pieces: Sequence[int] | None) -> None:
        """Append the subwords of the next word, or None if it was cut off."""
        index = len(self.word_starts)
        if pieces is None:
            self.word_starts.append(-1)
            return
        self.word_starts.append(len(self) if pieces else 0)
        self.input_ids.extend(pieces)
        self.token_words.extend([index] * len(pieces))

    def append_special(self, *token_ids: int) -> None:
        """Append tokens that belong to no word."""
        self.input_ids.extend(token_ids)
        self.token_words.extend([-1] * len(token_ids))


class WordTokenizer:
    """Hugging Face tokenizer that keeps words apart and adds entity markers.

    A word without any subword (variation selectors, zero-width characters) keeps its index.

    Args:
        tokenizer: A fast tokenizer, or one of `SLOW_TOKENIZERS`. The markers are added where its
            vocabulary lacks them.
        max_tokens: Most subwords of a post, special tokens and markers included.

    Attributes:
        marker_ids: Ids of `MARKERS`.
        pad_id: Id that pads shorter texts.

    Raises:
        TokenizerError: The tokenizer is another slow one, has no vocabulary or lacks a special
            token, or ``max_tokens`` is too small.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int = 128) -> None:
        if not (tokenizer.is_fast or isinstance(tokenizer, SLOW_TOKENIZERS)):
            raise TokenizerError(
                f"tokenizer '{tokenizer.name_or_path}' ({type(tokenizer).__name__}) is not a fast "
                "one and cannot tell words apart: name a text encoder that has a tokenizer.json"
            )
        if max_tokens < _MIN_TOKENS:
            raise TokenizerError(
                f"max_tokens is {max_tokens}: at least {_MIN_TOKENS} are needed for one word and "
                "its markers"
            )
        tokenizer.add_tokens(list(MARKERS), special_tokens=True)
        self.tokenizer = tokenizer
        self._splitter = None if tokenizer.is_fast else WordSplitter(tokenizer)
        self.max_tokens = max_tokens
        vocabulary = tokenizer.get_vocab()
        # transformers builds an empty tokenizer if it finds nothing but a model's config
        if len(vocabulary) == len(tokenizer.get_added_vocab()):
            raise TokenizerError(
                f"tokenizer '{tokenizer.name_or_path}' has no vocabulary: name a folder that holds "
                "its tokenizer.json"
            )
        self.marker_ids = [vocabulary[marker] for marker in MARKERS]
        if sum(token_id in self.marker_ids for token_id in vocabulary.values()) > len(MARKERS):
            raise TokenizerError(
                f"tokenizer '{tokenizer.name_or_path}' numbers its vocabulary with gaps, so that "
                "markers and words get the same ids: remove the lines that occur twice in its "
                "vocabulary"
            )
        self._first = self._special_id("cls_token")
        self._last = self._special_id("sep_token")
        self.pad_id = self._special_id("pad_token")
        # a second segment has one separator in BERT's family, and another before it in RoBERTa's
        num_separators = tokenizer.num_special_tokens_to_add(pair=True)
        num_separators -= tokenizer.num_special_tokens_to_add(pair=False)
        self._before_context = [self._last] * (num_separators - 1)
        self._special = {*self.marker_ids, *tokenizer.all_special_ids} - {tokenizer.unk_token_id}

    @classmethod
    def from_source(cls, source: str | Path, max_tokens: int = 128) -> Self:
        """Load the tokenizer of a text encoder.

        Raises:
            TokenizerError: ``source`` is neither the folder of a tokenizer nor available from the
                hub.
        """
        tokenizer = load_tokenizer(str(source))
        if tokenizer.is_fast:
            begin_words_with_blanks(tokenizer)
        return cls(tokenizer, max_tokens)

    @classmethod
    def from_files(cls, files: Mapping[str, str], max_tokens: int = 128) -> Self:
        """Load the tokenizer whose files `to_files` returned.

        Raises:
            TokenizerError: The files are not those of a tokenizer.
        """
        return cls(tokenizer_from_files(files), max_tokens)

    def to_files(self) -> dict[str, str]:
        """Return all files of the tokenizer, name to text, for a checkpoint."""
        return tokenizer_to_files(self.tokenizer)

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the vocabulary, markers included."""
        return len(self.tokenizer)

    @property
    def mask_id(self) -> int | None:
        """Id of the mask token, or None if there is none."""
        token_id: int | None = self.tokenizer.mask_token_id
        return token_id

    @property
    def text_room(self) -> int:
        """Most subwords of a post's words."""
        return self.max_tokens - 2

    @property
    def pair_room(self) -> int:
        """Most subwords of a post's words between which the markers of a relation stand."""
        return self.text_room - len(MARKERS)

    def split(self, texts: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        """Split every word of every text into subwords.

        A special token in a post's own text ("[SEP]", "<s>") is ordinary text: it is split into
        other subwords as far as the tokenizer can, and has no subword otherwise.

        Args:
            texts: Words of every text.

        Returns:
            Subword ids of every word of every text. Empty for a word without any. Of a word whose
            characters exceed the subwords of any encoder, the end is left out.
        """
        if not texts:
            return []
        if self._splitter is not None:
            return [self._split_one_by_one(words, self._splitter) for words in texts]
        max_length = self.max_tokens * _MAX_PIECE
        encoded = self.tokenizer(
            [[word[:max_length] for word in words] for words in texts],
            is_split_into_words=True,
            add_special_tokens=False,
            split_special_tokens=True,
            verbose=False,
        )
        pieces: list[list[list[int]]] = []
        for row, words in enumerate(texts):
            pieces.append([[] for _ in words])
            ids = encoded["input_ids"][row]
            for token_id, word in zip(ids, encoded.word_ids(row), strict=True):
                # sentencepiece models have "<s>" as an ordinary piece, too
                if token_id not in self._special:
                    pieces[row][word].append(token_id)
        return pieces

    def _split_one_by_one(self, words: Sequence[str], splitter: WordSplitter) -> list[list[int]]:
        """Split the words of a text by a slow tokenizer."""
        max_length = self.max_tokens * _MAX_SLOW_PIECE
        pieces: list[list[int]] = []
        for word in words:
            ids = splitter.split(word[:max_length])
            pieces.append([token_id for token_id in ids if token_id not in self._special])
        return pieces

    def split_readable(
        self, texts: Sequence[Sequence[str]], ends: Sequence[int]
    ) -> list[list[list[int]]]:
        """Split the words of every text that can be read, and leave out later ones.

        `encode` and `encode_pair` give the same for these words as for all words, since words at
        the end are cut off first.

        Args:
            texts: Words of every text.
            ends: Number of words of every text that are split in any case.

        Returns:
            Subword ids of the words of every text, as in `split`.
        """
        heads = []
        for words, end in zip(texts, ends, strict=True):
            heads.append(words[: end + self.max_tokens])
        pieces = self.split(heads)
        for row, words in enumerate(texts):
            is_full = sum(map(len, pieces[row])) >= self.max_tokens
            if len(pieces[row]) < len(words) and not is_full:  # words without subwords
                pieces[row] = self.split([words])[0]
        return pieces

    def split_contexts(self, contexts: Sequence[str | None]) -> list[list[int]]:
        """Split every context into subwords without special tokens.

        At most the first ``max_tokens`` words of a context are read, since no more can fit. Special
        tokens in a context are ordinary text, as in `split`. Characters that cannot be written as
        UTF-8 become ``?``.

        Args:
            contexts: Context of every post; None for a post without one.

        Returns:
            At most ``max_tokens`` subword ids of every context. Empty for a post without one.
        """
        texts: list[list[str]] = []
        for context in contexts:
            words = replace_surrogates(context or "").split(maxsplit=self.max_tokens)
            texts.append(words[: self.max_tokens])
        ids: list[list[int]] = []
        for pieces in self.split(texts):
            context_ids = [token_id for word in pieces for token_id in word]
            ids.append(context_ids[: self.max_tokens])
        return ids

    def encode(self, pieces: Sequence[Sequence[int]], context: Sequence[int] = ()) -> EncodedText:
        """Encode a post as ``[CLS]`` words ``[SEP]``.

        Words that do not fit are cut off: see `truncate_words`. A context follows as the
        tokenizer's second segment (``context [SEP]``, ``</s> context </s>``), cut to the room that
        the words leave. Without room for any of it there is no second segment.

        Args:
            pieces: Subwords of every word.
            context: Subwords of the context.
        """
        words = truncate_words(pieces, self.text_room)
        text = self._join(words, {})
        self._append_context(text, context)
        return text

    def encode_pair(
        self, pieces: Sequence[Sequence[int]], relation: Relation, context: Sequence[int] = ()
    ) -> EncodedText:
        """Encode a post with markers around both entities of a relation.

        Overlapping entities keep all four markers. Words that do not fit are cut off: see
        `truncate_pair`. A context follows as in `encode`.

        Args:
            pieces: Subwords of every word.
            relation: Head and tail.
            context: Subwords of the context.
        """
        words = truncate_pair(pieces, relation, self.pair_room)
        head_open, head_close, tail_open, tail_close = self.marker_ids
        head, tail = relation.head, relation.tail
        markers: dict[int, list[int]] = {}
        # entities close before others open, and the head before the tail
        markers.setdefault(head.end, []).append(head_close)
        markers.setdefault(tail.end, []).append(tail_close)
        markers.setdefault(head.start, []).append(head_open)
        markers.setdefault(tail.start, []).append(tail_open)
        text = self._join(words, markers)
        text.markers = (text.input_ids.index(head_open), text.input_ids.index(tail_open))
        self._append_context(text, context)
        return text

    def _join(
        self, words: Sequence[Sequence[int] | None], markers: Mapping[int, Sequence[int]]
    ) -> EncodedText:
        """Join words and markers between ``[CLS]`` and ``[SEP]``.

        Args:
            words: Subwords of every word; None for a word that was cut off.
            markers: Ids of the markers before a word, by its index.
        """
        num_words = len(words)
        while num_words and words[num_words - 1] is None:
            num_words -= 1
        text = EncodedText([], [], [])
        text.append_special(self._first)
        for index, word in enumerate(words[:num_words]):
            text.append_special(*markers.get(index, ()))
            text.append_word(word)
        text.append_special(*markers.get(num_words, ()), self._last)
        return text

    def _append_context(self, text: EncodedText, context: Sequence[int]) -> None:
        """Append as much of the context as there is room for."""
        room = self.max_tokens - len(text) - len(self._before_context) - 1
        if room > 0 and context:
            segment = [*self._before_context, *context[:room], self._last]
            text.append_special(*segment)
            text.context_length = len(segment)

    def _special_id(self, name: str) -> int:
        """Return the id of a special token.

        Raises:
            TokenizerError: The tokenizer has no token of this name.
        """
        token_id = getattr(self.tokenizer, f"{name}_id")
        if token_id is None:
            raise TokenizerError(
                f"{type(self.tokenizer).__name__} has no {name}: expected an encoder's tokenizer"
            )
        return int(token_id)
