"""Tiny text encoders: their tokenizers cover the texts, and their bytes are the same each time."""

import pytest
from transformers import AutoConfig, AutoModel, AutoTokenizer

from mmie.data.demo.tiny_encoders import write_tiny_bert, write_tiny_roberta
from mmie.types import MARKERS

TEXTS = [
    "Washington x Phoenix tonight \u2764 \ufe0f #weekend",
    "can't believe \U0001f602 Jordan unrelated to Amazon",
] * 3


@pytest.fixture(params=[write_tiny_bert, write_tiny_roberta])
def writer(request):
    return request.param


def load(folder):
    return AutoTokenizer.from_pretrained(folder, add_prefix_space=True, local_files_only=True)


def test_the_tokenizer_is_fast_and_covers_the_texts(tmp_path, writer):
    writer(tmp_path / "encoder", TEXTS)
    tokenizer = load(tmp_path / "encoder")
    assert tokenizer.is_fast
    encoded = tokenizer([text.split() for text in TEXTS], is_split_into_words=True)
    assert not any(tokenizer.unk_token_id in ids for ids in encoded["input_ids"])
    assert set(encoded.word_ids(0)) - {None} >= {0, 1, 2, 3, 4, 6}


def test_a_model_of_the_config_runs_on_the_longest_text(tmp_path, writer):
    writer(tmp_path, TEXTS)
    tokenizer = load(tmp_path)
    model = AutoModel.from_config(AutoConfig.from_pretrained(tmp_path, local_files_only=True))
    encoded = tokenizer("x " * 300, truncation=True, return_tensors="pt")
    assert model(**encoded).last_hidden_state.shape == (1, 128, 64)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model.config.vocab_size == len(tokenizer)


def test_the_same_texts_give_the_same_bytes(tmp_path, writer):
    for name in ("first", "second"):
        writer(tmp_path / name, TEXTS)
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert files
    assert all(
        (tmp_path / "first" / f).read_bytes() == (tmp_path / "second" / f).read_bytes()
        for f in files
    )


def test_bert_has_markers_and_words_of_no_or_several_subwords(tmp_path):
    write_tiny_bert(tmp_path, TEXTS)
    tokenizer = load(tmp_path)
    assert tokenizer.unk_token_id not in tokenizer.convert_tokens_to_ids(list(MARKERS))
    assert [tokenizer.cls_token, tokenizer.sep_token, tokenizer.mask_token] == [
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    word_ids = tokenizer([TEXTS[0].split()], is_split_into_words=True).word_ids(0)
    assert word_ids.count(0) == 2  # Washington
    assert word_ids.count(5) == 0  # the variation selector
    assert tokenizer.unk_token_id not in tokenizer("Zebra-like QUIZ: 50% off!")["input_ids"]
