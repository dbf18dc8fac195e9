"""Tiny tokenizers of further kinds: slow ones, sentencepiece models, bare files."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, processors
from transformers import DebertaV2Tokenizer, MPNetTokenizer

from mmie.types import MARKERS

_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_NORMALISED = ["@USER", "HTTPURL", ":face_with_tears_of_joy:"]


def write_bertweet(folder: Path, texts: Iterable[str], **settings) -> Path:
    """Write a vocabulary in BERTweet's files: each word is made of its characters from the left.

    Args:
        folder: Folder to write.
        texts: Texts whose words are whole pieces.
        **settings: Content of ``tokenizer_config.json``.
    """
    words = sorted({*" ".join(texts).split(), *_NORMALISED})
    merges: dict[str, None] = {}
    for word in words:
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        while len(symbols) > 1:
            merges[f"{symbols[0]} {symbols[1]}"] = None
            symbols[:2] = ["".join(symbols[:2])]
    characters = sorted(set("".join(words)))
    pieces = [*words, *(f"{character}@@" for character in characters), *characters]
    folder.mkdir(parents=True)
    _write_lines(folder / "vocab.txt", (f"{piece} 7" for piece in dict.fromkeys(pieces)))
    _write_lines(folder / "bpe.codes", (f"{merge} 7" for merge in merges))
    settings = {"tokenizer_class": "BertweetTokenizer", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_japanese(folder: Path, texts: Iterable[str], **settings) -> Path:
    """Write a vocabulary of words and characters in the files of Japanese BERT."""
    words = sorted(set(" ".join(texts).split()))
    characters = sorted(set("".join(words)))
    pieces = [*_SPECIALS, *words, *characters, *(f"##{character}" for character in characters)]
    folder.mkdir(parents=True)
    _write_lines(folder / "vocab.txt", dict.fromkeys(pieces))
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "do_lower_case": False, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_deberta(folder: Path, texts: Iterable[str]) -> Path:
    """Write a unigram model of words and characters, as DeBERTa-v3 has one."""
    pieces = dict.fromkeys(("[PAD]", "[CLS]", "[SEP]", "[UNK]"), 0.0)
    pieces |= dict.fromkeys((f"▁{word}" for word in " ".join(texts).split()), -1.0)
    pieces |= dict.fromkeys(map(chr, range(33, 127)), -5.0) | {"▁": -4.0}
    DebertaV2Tokenizer(vocab=list(pieces.items()), unk_id=3).save_pretrained(folder)
    return folder


def write_sentencepiece(folder: Path, texts: Iterable[str]) -> Path:
    """Train a sentencepiece model and write it alone, with the settings of DeBERTa-v3."""
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    folder.mkdir(parents=True)
    pieces = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}
    options = {f"{name}_piece": piece for name, piece in pieces.items()}
    options |= {f"{name}_id": index for index, name in enumerate(pieces)}
    trainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "spm"),
        vocab_size=50,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    settings = {"tokenizer_class": "DebertaV2Tokenizer", "vocab_type": "spm"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_modernbert(folder: Path, texts: Iterable[str]) -> Path:
    """Write a byte-level ``tokenizer.json`` without a class, which does not ask for blanks."""
    trained = ByteLevelBPETokenizer(add_prefix_space=False)
    trained.train_from_iterator(texts, 400, special_tokens=_SPECIALS, show_progress=False)
    backend = Tokenizer.from_str(trained.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    folder.mkdir(parents=True)
    backend.save(str(folder / "tokenizer.json"))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    settings = dict(zip(names, _SPECIALS, strict=True))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_mpnet(folder: Path, texts: Iterable[str]) -> Path:
    """Write a WordPiece vocabulary with RoBERTa's special tokens, as MPNet has one."""
    words = sorted(set(" ".join(texts).lower().split()))
    characters = sorted(set("".join(words)))
    specials = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *MARKERS]
    pieces = [*specials, *words, *characters, *(f"##{character}" for character in characters)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    MPNetTokenizer(vocab=vocabulary).save_pretrained(folder)
    return folder


def write_without_mask(folder: Path) -> Path:
    """Write a tokenizer of letters that has no mask token."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "b": 5}
    folder.mkdir(parents=True)
    Tokenizer(models.WordLevel(vocabulary, "[UNK]")).save(str(folder / "tokenizer.json"))
    names = ("pad_token", "unk_token", "cls_token", "sep_token")
    settings = dict(zip(names, _SPECIALS, strict=False))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **settings})
    )
    return folder


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
