"""Folders of tiny text encoders: a config, and a fast tokenizer that covers given texts.

They hold no weights: a model built from one starts from random numbers. The same texts give the
same bytes.
"""

import string
from collections.abc import Iterable
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import BertConfig, BertTokenizer, RobertaConfig, RobertaTokenizer

from mmie.types import MARKERS

MAX_TOKENS = 128
"""Most tokens of a text."""
_ROBERTA_OFFSET = 2
"""First position of RoBERTa, which counts from its padding id plus one."""
_BERT_SPECIALS = ["[PAD]", *MARKERS, "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_PRINTABLE = set(string.printable).difference(string.whitespace)
_LONGEST_WHOLE = 6
"""Most characters of a word that is one piece."""


def write_tiny_bert(folder: Path, texts: Iterable[str]) -> None:
    """Write a BERT of two layers, 64 wide, and its uncased WordPiece tokenizer.

    The vocabulary is listed, not trained: ``WordPieceTrainer`` orders its pieces differently in
    every process. It holds the entity markers, as the published ones do, every printable ASCII
    character, and the words of the texts. Words of more than six characters are two pieces, so that
    words and subwords do not coincide.

    Args:
        folder: Folder to write, which is made if necessary.
        texts: Texts that are split without ``[UNK]``.
    """
    pieces = sorted(_pieces(texts))
    vocabulary = {piece: index for index, piece in enumerate([*_BERT_SPECIALS, *pieces])}
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        hidden_dropout_prob=0.05,
        attention_probs_dropout_prob=0.05,
        max_position_embeddings=MAX_TOKENS,
    )
    config.save_pretrained(folder)


def write_tiny_roberta(folder: Path, texts: Iterable[str], vocab_size: int = 500) -> None:
    """Write a RoBERTa of two layers, 64 wide, and a byte-level BPE tokenizer trained on the texts.

    Args:
        folder: Folder to write, which is made if necessary.
        texts: Texts to train the tokenizer on.
        vocab_size: Most tokens of the vocabulary. All 256 bytes and the special tokens are always
            part of it.
    """
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        texts, vocab_size, special_tokens=_ROBERTA_SPECIALS, show_progress=False
    )
    folder.mkdir(parents=True, exist_ok=True)
    trained.save_model(str(folder))
    tokenizer = RobertaTokenizer.from_pretrained(folder, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        hidden_dropout_prob=0.05,
        attention_probs_dropout_prob=0.05,
        max_position_embeddings=MAX_TOKENS + _ROBERTA_OFFSET,
        type_vocab_size=1,
    )
    config.save_pretrained(folder)


def _pieces(texts: Iterable[str]) -> set[str]:
    """Collect the word pieces of every word of the texts, and of every printable ASCII word."""
    normalizer = BertNormalizer(lowercase=True)
    splitter = BertPreTokenizer()
    words: set[str] = set()
    for text in texts:
        splits = splitter.pre_tokenize_str(normalizer.normalize_str(text))
        words.update(word for word, _ in splits)
    characters = set(map(str.lower, _PRINTABLE)).union(*words)
    pieces = set(characters)
    pieces.update(f"##{character}" for character in characters)
    for word in words:
        if len(word) <= _LONGEST_WHOLE:
            pieces.add(word)
        else:
            middle = len(word) // 2
            pieces.update((word[:middle], f"##{word[middle:]}"))
    return pieces
