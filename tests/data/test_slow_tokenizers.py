"""Slow tokenizers: words, files, the repair of BERTweet's and the conversion of Japanese BERT's."""

import json
import sys

import pytest
from helpers.encodings import TEXTS, check_one_line, make_relation
from helpers.tokenizers import write_bertweet, write_japanese
from transformers import AutoTokenizer, BertJapaneseTokenizer, BertweetTokenizer

from mmie.checkpoints.compatibility import same_vocabulary
from mmie.data import slow_tokenizers
from mmie.data.encoding import WordTokenizer
from mmie.data.slow_tokenizers import TokenizerError, WordSplitter
from mmie.utils.optional import MissingPackageError

POST = ("Jordan", "lands", "don't", "@bob", "https://t.co/x", "😂", "\ufe0f", "everybody", "</s>")
JAPANESE = ["東京 大阪 行く 人 たち ABC 12 カタカナ"]


def pieces_of(tokenizer: WordTokenizer, words) -> list[list[str]]:
    """Return the subwords of words as texts."""
    return [tokenizer.tokenizer.convert_ids_to_tokens(ids) for ids in tokenizer.split([words])[0]]


@pytest.fixture(scope="module")
def bertweet(tmp_path_factory):
    folder = write_bertweet(tmp_path_factory.mktemp("slow") / "bertweet", TEXTS, normalization=True)
    return WordTokenizer.from_source(folder, 32)


def test_pieces_inside_a_word_are_marked(bertweet):
    words = ["Jordan", "mixed"]
    assert pieces_of(bertweet, words) == [["Jordan"], ["m@@", "i@@", "x@@", "e@@", "d"]]


def test_normalisation_changes_words_and_not_their_number(bertweet):
    pieces = pieces_of(bertweet, POST)
    assert len(pieces) == len(POST)
    assert pieces[3:6] == [["@USER"], ["HTTPURL"], [":face_with_tears_of_joy:"]]
    assert pieces[2] == ["d@@", "o", "n@@", "<unk>", "t"]  # do n't
    ids = bertweet.split([POST])[0]
    text = bertweet.encode(ids)
    assert text.num_words == len(POST)
    assert text.token_words[1:-1] == [i for i, word in enumerate(ids) for _ in word]


@pytest.mark.parametrize("text", [*TEXTS, "I can't , cannot or won't say it's @Bob\u2019s 😂 :)"])
def test_words_give_the_subwords_of_the_tokenizer_itself(bertweet, text):
    """Its normalisation of a whole text looks at the blank after a word."""
    words = text.split()
    expected = bertweet.tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    assert [piece for word in bertweet.split([words])[0] for piece in word] == expected


def test_special_tokens_in_a_post_are_text(bertweet):
    words = ["<s>", "</s>", "<pad>", "<mask>", "[unused1]"]
    special = {*bertweet.tokenizer.all_special_ids, *bertweet.marker_ids}
    special -= {bertweet.tokenizer.unk_token_id}
    for pieces in bertweet.split([words])[0]:
        assert pieces
        assert not special.intersection(pieces)


def test_context_is_the_tokenizers_second_segment(bertweet):
    words, context = TEXTS[0].split(), "look in the river"
    (second,) = bertweet.split_contexts([context])
    text = bertweet.encode(bertweet.split([words])[0], second)
    expected = bertweet.tokenizer(" ".join(words), context)["input_ids"]
    assert text.input_ids == expected


def test_markers_are_added(bertweet):
    text = bertweet.encode_pair([[5], [6]], make_relation((0, 1), (1, 2)))
    assert len({text.input_ids[index] for index in text.markers}) == 2
    assert bertweet.vocab_size == 1 + max(bertweet.tokenizer.get_vocab().values())


@pytest.mark.parametrize("times", [1, 2])
def test_files_restore_the_tokenizer(bertweet, times):
    again = bertweet
    for _ in range(times):
        files = again.to_files()
        assert all(name.endswith(".json") for name in files)
        again = WordTokenizer.from_files(json.loads(json.dumps(files)), 32)
    assert type(again.tokenizer) is BertweetTokenizer
    assert again.split([POST]) == bertweet.split([POST])
    assert (again.vocab_size, again.marker_ids) == (bertweet.vocab_size, bertweet.marker_ids)
    assert same_vocabulary(again.to_files(), bertweet.to_files())


def test_other_vocabularies_differ(bertweet, tmp_path):
    other = WordTokenizer.from_source(write_bertweet(tmp_path / "other", TEXTS[:1]))
    assert not same_vocabulary(bertweet.to_files(), other.to_files())


def test_folder_that_transformers_saved_is_repaired(bertweet, tmp_path):
    """It writes merges without their counts, and reads the last column as the count."""
    AutoTokenizer.from_pretrained(bertweet.tokenizer.name_or_path).save_pretrained(tmp_path)
    broken = AutoTokenizer.from_pretrained(tmp_path).tokenize("lands")
    assert broken == ["l@@", "a@@", "n@@", "d@@", "s"]
    assert WordTokenizer.from_source(tmp_path).split([POST]) == bertweet.split([POST])


def test_phobert_splits_like_its_own_tokenizer(tmp_path):
    folder = write_bertweet(tmp_path / "pho", TEXTS, tokenizer_class="PhobertTokenizer")
    own = AutoTokenizer.from_pretrained(folder)
    tokenizer = WordTokenizer.from_source(folder)
    words = [*TEXTS[1].split(), "foxes"]
    expected = own(" ".join(words), add_special_tokens=False)["input_ids"]
    assert [piece for word in tokenizer.split([words])[0] for piece in word] == expected
    assert tokenizer.mask_id == own.mask_token_id
    again = WordTokenizer.from_files(WordTokenizer.from_files(tokenizer.to_files()).to_files())
    assert again.split([words]) == tokenizer.split([words])


def test_normalisation_without_its_package_raises(tmp_path, monkeypatch):
    folder = write_bertweet(tmp_path / "tweets", TEXTS, normalization=True)
    monkeypatch.setitem(sys.modules, "emoji", None)
    with pytest.raises(MissingPackageError, match=r"'emoji' is not installed.*mmie\[tweets\]"):
        WordTokenizer.from_source(folder)


def test_long_word_is_split_in_part(bertweet):
    (pieces,) = bertweet.split([["x" * 10**6]])
    assert 32 <= len(pieces[0]) <= 4 * 32


def test_recurring_words_are_split_once(bertweet, monkeypatch):
    splitter, calls = WordSplitter(bertweet.tokenizer), []
    tokenize = bertweet.tokenizer.tokenize
    monkeypatch.setattr(
        bertweet.tokenizer, "tokenize", lambda text, **_: calls.append(text) or tokenize(text)
    )
    for word in ("a", "b", "a", "a"):
        splitter.split(word)
    assert calls == ["a x", "b x"]


def test_cache_is_bounded(bertweet, monkeypatch):
    monkeypatch.setattr(slow_tokenizers, "_CACHED_WORDS", 3)
    splitter = WordSplitter(bertweet.tokenizer)
    bertweet.tokenizer.cache.clear()
    for number in range(20):
        splitter.split(f"word{number}")
        assert len(splitter._known) <= 3
        assert len(bertweet.tokenizer.cache) < 10


def test_result_of_a_cached_word_can_be_changed(bertweet):
    first = bertweet.split([["everybody"]])[0][0]
    first.append(0)
    assert bertweet.split([["everybody"]])[0][0] == first[:-1]


@pytest.mark.parametrize("analyser", ["mecab", "sudachi", "jumanpp"])
def test_japanese_words_are_split_without_an_analyser(tmp_path, analyser):
    settings = {"mecab_kwargs": {"mecab_dic": "unidic_lite", "mecab_option": "-r /no/such/file"}}
    folder = write_japanese(tmp_path / "ja", JAPANESE, word_tokenizer_type=analyser, **settings)
    tokenizer = WordTokenizer.from_source(folder, 32)
    expected = [["東京"], ["東京", "##人"], ["ABC"], ["12"], ["[UNK]"], ["カタカナ"]]
    full_width = ["".join(chr(ord(character) + 0xFEE0) for character in "ABC"), "\uff11\uff12"]
    words = ["東京", "東京人", *full_width, "猫", "ｶﾀｶﾅ"]
    assert pieces_of(tokenizer, words) == expected
    again = WordTokenizer.from_files(tokenizer.to_files(), 32)
    assert again.split([words]) == tokenizer.split([words])
    assert (
        tokenizer.tokenizer("東京", "大阪")["input_ids"]
        == tokenizer.encode(
            tokenizer.split([["東京"]])[0], tokenizer.split_contexts(["大阪"])[0]
        ).input_ids
    )


@pytest.mark.parametrize("subwords", ["wordpiece", "character"])
@pytest.mark.parametrize("lower", [False, True])
def test_japanese_conversion_equals_the_slow_tokenizer(tmp_path, subwords, lower):
    """Of the slow one, the analyser is left out, and its normalisation done before."""
    settings = {"subword_tokenizer_type": subwords, "do_lower_case": lower}
    folder = write_japanese(
        tmp_path / "ja", [*JAPANESE, "abc"], word_tokenizer_type="mecab", **settings
    )
    tokenizer = WordTokenizer.from_source(folder)
    slow = BertJapaneseTokenizer.from_pretrained(folder, do_word_tokenize=False)
    for word in ("東京", "東京人", "ABC", "ABCab", "猫", "人猫", "行く12", "大" * 101):
        given = word.lower() if lower else word
        assert pieces_of(tokenizer, [word]) == [slow.tokenize(given)]


@pytest.mark.parametrize("kind", [{"word_tokenizer_type": "basic"}, {"do_word_tokenize": False}])
def test_japanese_without_an_analyser_stays_slow(tmp_path, kind):
    tokenizer = WordTokenizer.from_source(write_japanese(tmp_path / "ja", JAPANESE, **kind))
    assert not tokenizer.tokenizer.is_fast
    assert pieces_of(tokenizer, ["東京人", "ABC"]) == [["東京", "##人"], ["ABC"]]
    again = WordTokenizer.from_files(tokenizer.to_files())
    assert again.split([JAPANESE[0].split()]) == tokenizer.split([JAPANESE[0].split()])


@pytest.mark.parametrize("words", ["jumanpp", "basic"])
def test_japanese_sentencepiece_models_are_rejected(tmp_path, words):
    settings = {"word_tokenizer_type": words, "subword_tokenizer_type": "sentencepiece"}
    folder = write_japanese(tmp_path / "ja", JAPANESE, **settings)
    with pytest.raises(TokenizerError) as error:
        WordTokenizer.from_source(folder)
    check_one_line(error, str(folder), "sentencepiece", "tokenizer.json")


def test_vocabulary_with_gaps_is_rejected(tmp_path):
    folder = write_japanese(tmp_path / "ja", JAPANESE, word_tokenizer_type="basic")
    lines = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join([*lines[:8], *lines[5:8] * 3, *lines[8:]]) + "\n")
    with pytest.raises(TokenizerError) as error:
        WordTokenizer.from_source(folder)
    check_one_line(error, str(folder), "gaps", "twice")
