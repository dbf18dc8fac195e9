"""Loading of tokenizers from folders and from the texts of their files."""

import shutil

import pytest
from helpers.encodings import SPECIALS, TEXTS, WORDS, check_one_line, make_relation

from mmie.data.encoding import WordTokenizer
from mmie.data.tokenizer_files import (
    TokenizerError,
    load_tokenizer,
    tokenizer_from_files,
    tokenizer_to_files,
)


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


@pytest.mark.parametrize(
    "source", ["/no/such/folder", "no-such-model", "no/such-model", "a/b/c/d", ""]
)
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


@pytest.mark.parametrize("name", ["", "..", "../a.json", "a/b.json", "a\0.json", 7])
def test_names_that_are_paths_are_rejected(bert, name):
    with pytest.raises(TokenizerError, match="expected a text of its folder"):
        tokenizer_from_files(bert.to_files() | {name: "{}"})


def test_a_text_that_is_not_a_string_is_rejected(bert):
    with pytest.raises(TokenizerError, match="expected a text of its folder"):
        tokenizer_from_files(bert.to_files() | {"a.json": 7})
