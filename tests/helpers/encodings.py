"""Tiny tokenizers of three families, and checks of encoded texts."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from transformers import XLMRobertaTokenizer

from mmie.data.demo.tiny_encoders import write_tiny_bert, write_tiny_roberta
from mmie.data.encoding import EncodedText, WordTokenizer
from mmie.types import MARKERS, Entity, MmieError, Relation

FAMILIES = ("bert", "roberta", "unigram")
TEXTS = [
    "Jordan lands in Phoenix with everybody from Amazon",
    "RT @newsdesk: look what we found in the river",
]
"""Texts that the tokenizers cover."""
WORDS = (
    "Jordan",
    "\ufe0f",
    "lands",
    "in",
    "\u200d",
    "Phoenix's",
    "everybody",
    "❤\ufe0f",
    "@newsdesk",
    "été",
    "日本",
    "_x_",
)
SPECIALS = (
    "[SEP]",
    "[CLS]",
    "[PAD]",
    "[MASK]",
    "[unused1]",
    "[unused4]",
    "<s>",
    "</s>",
    "<pad>",
    "<mask>",
)
"""Special tokens of several families, as a post may contain them."""


def write_encoders(root: Path) -> dict[str, Path]:
    """Write an encoder folder of each family, and return the folders by family."""
    write_tiny_bert(root / "bert", TEXTS)
    write_tiny_roberta(root / "roberta", TEXTS)
    _write_tiny_unigram(root / "unigram")
    return {family: root / family for family in FAMILIES}


def _write_tiny_unigram(folder: Path) -> None:
    """Write a sentencepiece model of words and characters.

    Like XLM-R's it has its special tokens as ordinary pieces, too.
    """
    pieces = {name: 0.0 for name in ("<s>", "<pad>", "</s>", "<unk>")}
    pieces |= {f"▁{word}": -1.0 for word in " ".join(TEXTS).split()}
    pieces |= {chr(code): -5.0 for code in range(33, 127)} | {"▁": -4.0}
    XLMRobertaTokenizer(vocab=list(pieces.items())).save_pretrained(folder)


def make_relation(head: tuple[int, int], tail: tuple[int, int]) -> Relation:
    """A relation between two spans of words."""
    return Relation(Entity(*head), Entity(*tail), "r")


def split_letters(length: int, tokenizer: WordTokenizer) -> list[list[int]]:
    """Subwords of ``length`` words, each of one letter and one subword but for the third of two."""
    words = ["a", "b", "everybody", "d", "e", "f", "g", "h"][:length]
    return tokenizer.split([words])[0]


def show_tokens(tokenizer: WordTokenizer, text: EncodedText) -> str:
    """Tokens between [CLS] and [SEP], with markers as H( H) T( T)."""
    names = dict(zip(MARKERS, ("H(", "H)", "T(", "T)"), strict=True))
    tokens = tokenizer.tokenizer.convert_ids_to_tokens(text.input_ids)
    assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")
    return " ".join(names.get(token, token) for token in tokens[1:-1])


def check_consistent(
    tokenizer: WordTokenizer, text: EncodedText, pieces: Sequence[Sequence[int]]
) -> None:
    """Check that all fields of an encoded text agree with the subwords of the words."""
    assert len(text) == len(text.input_ids) == len(text.token_words) <= tokenizer.max_tokens
    for index, start in enumerate(text.word_starts):
        own = [
            token
            for token, word in zip(text.input_ids, text.token_words, strict=True)
            if word == index
        ]
        assert own == pieces[index][: len(own)]
        assert (start > 0) == bool(own)
        assert not own or text.token_words.index(index) == start
        assert start >= 0 or pieces[index] or index != len(text.word_starts) - 1
    assert text.num_words == sum(start >= 0 for start in text.word_starts)


def check_one_line(error: pytest.ExceptionInfo, *parts: str) -> None:
    """Check that an error is one for users, of one line, and has some parts."""
    message = str(error.value)
    assert isinstance(error.value, MmieError)
    assert "\n" not in message
    assert all(part in message for part in parts)
