"""Loading of tokenizers from folders and from the texts of their files."""

import importlib.util
import shutil
import sys

import pytest
from helpers.encodings import SPECIALS, TEXTS, WORDS, check_one_line, make_relation
from helpers.tokenizers import (
    write_bertweet,
    write_deberta,
    write_modernbert,
    write_sentencepiece,
    write_without_mask,
)
from tokenizers import pre_tokenizers

from mmie.data.encoding import WordTokenizer
from mmie.data.tokenizer_files import (
    TokenizerError,
    begin_words_with_blanks,
    load_tokenizer,
    tokenizer_from_files,
    tokenizer_to_files,
)
from mmie.utils.optional import MissingPackageError


def test_files_make_the_same_tokenizer(tokenizer):
    files = tokenizer.to_files()
    assert all(type(name) is str and type(text) is str for name, text in files.items())
    again = WordTokenizer.from_files(files, 32)
    texts = [WORDS, SPECIALS, TEXTS[1].split()]
    assert again.split(texts) == tokenizer.split(texts)
    pieces = tokenizer.split([WORDS[:4]])[0]
    pair = make_relation((0, 1), (2, 4))
    assert again.encode_pair(pieces, pair) == tokenizer.encode_pair(pieces, pair)
    assert (again.vocab_size, again.pad_id, again.max_tokens) == (
        tokenizer.vocab_size,
        tokenizer.pad_id,
        32,
    )
    assert again.to_files().keys() == files.keys()


def test_files_cannot_leave_their_folder(bert, tmp_path):
    outside = tmp_path / "escaped.json"
    with pytest.raises(TokenizerError, match="expected a text of its folder"):
        WordTokenizer.from_files(bert.to_files() | {str(outside): "{}"})
    assert not outside.exists()


@pytest.mark.parametrize("source", ["no-such-model", "no/such-model", ""])
def test_a_missing_tokenizer_is_named(source):
    with pytest.raises(TokenizerError) as error:
        WordTokenizer.from_source(source)
    check_one_line(error, f"'{source}'", "tokenizer.json")


@pytest.mark.parametrize("content", [None, "{", "{}", "\0\1"])
def test_a_folder_without_a_valid_tokenizer_is_named(encoder_folders, tmp_path, content):
    shutil.copy(encoder_folders["bert"] / "config.json", tmp_path)
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError) as error:
        WordTokenizer.from_source(tmp_path)
    check_one_line(error, str(tmp_path), "tokenizer.json")


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=str(tmp_path)):
        WordTokenizer.from_source(tmp_path)


def test_files_are_those_of_the_folder(encoder_folders):
    tokenizer = load_tokenizer(str(encoder_folders["bert"]))
    files = tokenizer_to_files(tokenizer)
    assert list(files) == sorted(files)
    assert "tokenizer.json" in files
    assert tokenizer_from_files(files).get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize(
    "name", ["", "..", "../a.json", "a/b.json", "a\0.json", 7, "spm.model", "vocab.txt"]
)
def test_names_that_are_paths_or_not_json_are_rejected(bert, name):
    with pytest.raises(TokenizerError, match="expected a text of its folder"):
        tokenizer_from_files(bert.to_files() | {name: "{}"})


def test_a_text_that_is_not_a_string_is_rejected(bert):
    with pytest.raises(TokenizerError, match="expected a text of its folder"):
        tokenizer_from_files(bert.to_files() | {"a.json": 7})


@pytest.mark.parametrize("content", ["{", "7", "[]"])
def test_a_file_that_holds_no_string_is_rejected(tmp_path, content):
    files = WordTokenizer.from_source(write_bertweet(tmp_path / "slow", TEXTS)).to_files()
    with pytest.raises(TokenizerError, match=r"vocab\.txt\.json is no JSON string"):
        tokenizer_from_files(files | {"vocab.txt.json": content})


@pytest.mark.parametrize(("write", "sign"), [(write_modernbert, "Ġ"), (write_deberta, "▁")])
def test_words_of_a_bare_tokenizer_follow_a_blank(tmp_path, write, sign):
    """The class that transformers loads for a bare tokenizer.json ignores ``add_prefix_space``."""
    loaded = WordTokenizer.from_source(write(tmp_path / "bare", TEXTS))
    for tokenizer in (loaded, WordTokenizer.from_files(loaded.to_files())):
        for pieces in tokenizer.split([["Jordan", "lands"]])[0]:
            assert tokenizer.tokenizer.convert_ids_to_tokens(pieces)[0].startswith(sign)


def test_checkpoint_without_blanks_keeps_splitting_as_it_was_trained(tmp_path):
    files = tokenizer_to_files(load_tokenizer(str(write_modernbert(tmp_path / "bare", TEXTS))))
    restored = WordTokenizer.from_files(files)
    pieces = restored.split([["lands"]])[0][0]
    assert restored.tokenizer.convert_ids_to_tokens(pieces)[0] == "l"


@pytest.mark.parametrize(
    "steps",
    [
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        ),
        pre_tokenizers.Metaspace(prepend_scheme="never"),
        pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="first")]
        ),
    ],
)
def test_every_kind_of_pre_tokenizer_gets_blanks(tmp_path, steps):
    tokenizer = load_tokenizer(str(write_modernbert(tmp_path / "bare", TEXTS)))
    tokenizer.backend_tokenizer.pre_tokenizer = steps
    begin_words_with_blanks(tokenizer)
    splits = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("lands")
    assert [text for text, _ in splits] in (["Ġlands"], ["▁lands"])


def test_tokenizer_without_a_mask_token(tmp_path):
    tokenizer = WordTokenizer.from_source(write_without_mask(tmp_path / "plain"))
    assert tokenizer.mask_id is None
    assert WordTokenizer.from_files(tokenizer.to_files()).mask_id is None


def test_sentencepiece_model_alone(tmp_path):
    """DeBERTa-v3 is published without a tokenizer.json."""
    tokenizer = WordTokenizer.from_source(write_sentencepiece(tmp_path / "spm", TEXTS))
    (first, second) = tokenizer.split([["Jordan", "lands"]])[0]
    assert tokenizer.tokenizer.decode(first + second) == "Jordan lands"
    assert tokenizer.mask_id is not None
    again = WordTokenizer.from_files(tokenizer.to_files())
    assert "tokenizer.json" in again.to_files()
    assert again.split([WORDS]) == tokenizer.split([WORDS])


def test_sentencepiece_model_without_its_package_names_it(tmp_path, monkeypatch):
    folder = write_sentencepiece(tmp_path / "spm", TEXTS)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sentencepiece" else find(name)
    )
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingPackageError) as error:
        WordTokenizer.from_source(folder)
    check_one_line(error, str(folder), "pip install 'mmie[sentencepiece]'")
