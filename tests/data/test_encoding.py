"""Encoding of words, markers and contexts by real tokenizers of three families."""

from random import Random

import pytest
from helpers.encodings import (
    FAMILIES,
    SPECIALS,
    TEXTS,
    WORDS,
    check_consistent,
    check_one_line,
    make_relation,
    show_tokens,
    split_letters,
)
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from mmie.data.encoding import WordTokenizer
from mmie.data.tokenizer_files import TokenizerError
from mmie.types import MARKERS, Entity, Relation


def test_words_are_split_independently(tokenizer):
    together = tokenizer.split([WORDS, WORDS[::-1], ("Jordan",)])
    alone = [tokenizer.split([[word]])[0][0] for word in WORDS]
    assert together == [alone, alone[::-1], alone[:1]]


def test_words_are_split_as_by_transformers(tokenizer):
    options = {"is_split_into_words": True, "add_special_tokens": False}
    for word, pieces in zip(WORDS, tokenizer.split([WORDS])[0], strict=True):
        assert pieces == tokenizer.tokenizer([word], **options)["input_ids"]


@pytest.mark.parametrize(("family", "sign"), [("roberta", "Ġ"), ("unigram", "▁")])
def test_every_word_follows_a_space(encoder_folders, family, sign):
    """So does the first word, since published vocabularies hold most words only with a space."""
    loaded = WordTokenizer.from_source(encoder_folders[family])
    for tokenizer in (loaded, WordTokenizer.from_files(loaded.to_files())):
        for pieces in tokenizer.split([["Jordan", "lands"]])[0]:
            assert tokenizer.tokenizer.convert_ids_to_tokens(pieces)[0].startswith(sign)


def test_without_texts_or_words(tokenizer):
    assert tokenizer.split([]) == []
    assert tokenizer.split([[], ["a"]])[0] == []


def test_words_without_subwords_keep_their_index(bert):
    words = ["\u200d", "Jordan", "\ufe0f", "everybody", "\ufe0f"]
    pieces = bert.split([words])[0]
    assert [len(word) for word in pieces] == [0, 1, 0, 2, 0]
    text = bert.encode(pieces)
    assert bert.tokenizer.convert_ids_to_tokens(text.input_ids) == [
        "[CLS]",
        "jordan",
        "ever",
        "##ybody",
        "[SEP]",
    ]
    assert text.word_starts == [0, 1, 0, 2, 0]
    assert text.token_words == [-1, 1, 3, 3, -1]
    assert (text.markers, text.num_words, len(text)) == ((), 5, 5)


def test_a_post_of_words_without_subwords(bert):
    text = bert.encode(bert.split([["\ufe0f", "\u200d"]])[0])
    assert (text.word_starts, text.token_words, len(text)) == ([0, 0], [-1, -1], 2)


def test_every_word_keeps_its_index_in_every_family(tokenizer):
    pieces = tokenizer.split([WORDS])[0]
    text = tokenizer.encode(pieces)
    check_consistent(tokenizer, text, pieces)
    assert text.num_words == len(WORDS)
    assert text.input_ids[1:-1] == [piece for word in pieces for piece in word]
    assert text.input_ids[0] == tokenizer.tokenizer.cls_token_id
    assert text.input_ids[-1] == tokenizer.tokenizer.sep_token_id


def test_special_tokens_in_a_post_are_text(tokenizer):
    backend = tokenizer.tokenizer
    special = {*backend.all_special_ids, *backend.convert_tokens_to_ids(list(MARKERS))} - {
        backend.unk_token_id
    }
    for word, pieces in zip(SPECIALS, tokenizer.split([SPECIALS])[0], strict=True):
        assert not special.intersection(pieces), word
        assert pieces, word


def test_special_tokens_in_a_post_keep_their_letters(bert):
    assert [
        bert.tokenizer.convert_ids_to_tokens(pieces)
        for pieces in bert.split([["[SEP]", "[UNK]"]])[0]
    ] == [
        ["[", "s", "##e", "##p", "]"],
        ["[", "u", "##n", "##k", "]"],
    ]


def test_random_texts_are_consistent(bert):
    random = Random(0)
    for _ in range(300):
        tokenizer = WordTokenizer(bert.tokenizer, random.randint(8, 20))
        pieces = [[random.randint(10, 90) for _ in range(random.randint(0, 4))] for _ in range(12)]
        text = tokenizer.encode(pieces)
        check_consistent(tokenizer, text, pieces)
        if text.num_words < len(pieces):
            assert len(text) + len(pieces[text.num_words]) > tokenizer.max_tokens


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        ((0, 1), (3, 5), "H( a H) b ever ##ybody T( d e T)"),  # head starts, tail ends the sentence
        ((3, 5), (0, 1), "T( a T) b ever ##ybody H( d e H)"),  # head ends, tail starts the sentence
        ((1, 2), (3, 4), "a H( b H) ever ##ybody T( d T) e"),
        ((2, 3), (1, 2), "a T( b T) H( ever ##ybody H) d e"),  # adjacent, tail first
        ((1, 2), (2, 3), "a H( b H) T( ever ##ybody T) d e"),  # adjacent, head first
        ((0, 4), (1, 3), "H( a T( b ever ##ybody T) d H) e"),  # tail within head
        ((1, 3), (0, 4), "T( a H( b ever ##ybody H) d T) e"),  # head within tail
        ((1, 3), (2, 4), "a H( b T( ever ##ybody H) d T) e"),  # overlapping
        ((2, 4), (1, 3), "a T( b H( ever ##ybody T) d H) e"),
        ((1, 3), (1, 3), "a H( T( b ever ##ybody H) T) d e"),  # the same words
        ((0, 5), (0, 5), "H( T( a b ever ##ybody d e H) T)"),
        ((0, 2), (0, 1), "H( T( a T) b H) ever ##ybody d e"),
        ((3, 5), (4, 5), "a b ever ##ybody H( d T( e H) T)"),
    ],
)
def test_markers_enclose_both_entities(bert, head, tail, expected):
    pieces = split_letters(5, bert)
    text = bert.encode_pair(pieces, make_relation(head, tail))
    assert show_tokens(bert, text) == expected
    tokens = show_tokens(bert, text).split()
    assert text.markers == (1 + tokens.index("H("), 1 + tokens.index("T("))
    check_consistent(bert, text, pieces)


def test_markers_around_words_without_subwords(bert):
    pieces = bert.split([["\ufe0f", "a", "\u200d", "b"]])[0]
    assert (
        show_tokens(bert, bert.encode_pair(pieces, make_relation((0, 1), (2, 3))))
        == "H( H) a T( T) b"
    )


def test_one_word_can_be_head_and_tail(bert):
    text = bert.encode_pair(bert.split([["everybody"]])[0], make_relation((0, 1), (0, 1)))
    assert show_tokens(bert, text) == "H( T( ever ##ybody H) T)"
    assert text.markers == (1, 2)


def test_markers_are_added_once(tokenizer):
    size = tokenizer.vocab_size
    ids = tokenizer.tokenizer.convert_tokens_to_ids(list(MARKERS))
    assert len(set(ids)) == 4
    assert tokenizer.tokenizer.unk_token_id not in ids
    again = WordTokenizer(tokenizer.tokenizer, 64)
    assert again.vocab_size == size == max(tokenizer.tokenizer.get_vocab().values()) + 1
    text = again.encode_pair([[10], [11]], make_relation((0, 1), (1, 2)))
    assert [text.input_ids[index] for index in text.markers] == [ids[0], ids[2]]


def test_markers_of_the_vocabulary_are_reused(encoder_folders):
    before = BertTokenizer.from_pretrained(encoder_folders["bert"])
    known = before.convert_tokens_to_ids(list(MARKERS))
    size = len(before)
    assert WordTokenizer(before).vocab_size == size
    assert before.convert_tokens_to_ids(list(MARKERS)) == known


def test_a_slow_tokenizer_is_rejected():
    with pytest.raises(TokenizerError) as error:
        WordTokenizer(ByT5Tokenizer())
    check_one_line(error, "ByT5Tokenizer", "fast")


def test_a_tokenizer_without_special_tokens_is_rejected():
    backend = Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(TokenizerError) as error:
        WordTokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"))
    check_one_line(error, "cls_token")


def test_too_few_tokens_are_rejected(bert):
    with pytest.raises(TokenizerError, match="max_tokens is 7"):
        WordTokenizer(bert.tokenizer, 7)


CONTEXTS = ("a river", "everybody's newsdesk in the river , été !", "Phoenix")


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_context_is_the_second_segment_of_the_tokenizers_own_pair(tokenizer, context):
    words = TEXTS[1].split()
    (pieces,), (second,) = tokenizer.split([words]), tokenizer.split_contexts([context])
    text = tokenizer.encode(pieces, second)
    expected = tokenizer.tokenizer(" ".join(words), context)
    assert text.input_ids == expected["input_ids"]
    assert text.token_type_ids == expected.get("token_type_ids", text.token_type_ids)
    own = len(tokenizer.encode(pieces))
    assert text.token_type_ids == [0] * own + [1] * (len(text) - own)


def test_without_a_context_nothing_changes(tokenizer):
    (pieces,), pair = tokenizer.split([WORDS]), make_relation((0, 1), (3, 5))
    for text, with_none in (
        (tokenizer.encode(pieces), tokenizer.encode(pieces, [])),
        (tokenizer.encode_pair(pieces, pair), tokenizer.encode_pair(pieces, pair, ())),
    ):
        assert text == with_none
        assert (text.context_length, text.token_type_ids) == (0, [0] * len(text))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_context_gets_the_room_that_the_words_leave(encoder_folders, family):
    random = Random(4)
    tokenizer = WordTokenizer.from_source(encoder_folders[family])
    separators = {"bert": 1, "roberta": 2, "unigram": 2}[family]
    seen = set()
    for _ in range(400):
        tokenizer.max_tokens = random.randint(8, 30)
        pieces = [[random.randint(10, 40) for _ in range(random.randint(0, 3))] for _ in range(8)]
        context = [random.randint(10, 40) for _ in range(random.randint(0, 12))]
        spans = [tuple(sorted(random.sample(range(9), 2))) for _ in range(2)]
        for text, own in (
            (tokenizer.encode(pieces, context), tokenizer.encode(pieces)),
            (
                tokenizer.encode_pair(pieces, make_relation(*spans), context),
                tokenizer.encode_pair(pieces, make_relation(*spans)),
            ),
        ):
            check_consistent(tokenizer, text, pieces)
            kept = context[: max(0, tokenizer.max_tokens - len(own) - separators)]
            last = tokenizer.tokenizer.sep_token_id
            second = [*[last] * (separators - 1), *kept, last] if kept else []
            assert text.input_ids == own.input_ids + second
            assert text.token_words == own.token_words + [-1] * len(second)
            assert text.token_type_ids == [0] * len(own) + [1] * len(second)
            assert (text.word_starts, text.markers) == (own.word_starts, own.markers)
            seen.add((len(kept) == len(context), bool(kept)))
    assert len(seen) == 4  # whole, cut, left out, and none


def test_special_tokens_in_a_context_are_text(tokenizer):
    backend = tokenizer.tokenizer
    special = {*backend.all_special_ids, *backend.convert_tokens_to_ids(list(MARKERS))} - {
        backend.unk_token_id
    }
    (pieces,) = tokenizer.split_contexts([" ".join(SPECIALS)])
    assert not special.intersection(pieces)
    assert pieces == [piece for word in tokenizer.split([SPECIALS])[0] for piece in word]


def test_empty_contexts(tokenizer):
    assert tokenizer.split_contexts([]) == []
    assert tokenizer.split_contexts([None, "", " \n\t "]) == [[], [], []]
    broken, plain = tokenizer.split_contexts(["a\ud800 b", "a? b"])
    assert broken == plain


def test_line_ends_of_a_context_are_spaces(tokenizer):
    contexts = ["a river", "a\nriver", " a \r\n\t river "]
    first, second, third = tokenizer.split_contexts(contexts)
    assert first == second == third


def test_a_long_context_is_read_in_part(encoder_folders):
    class Recording(WordTokenizer):
        def split(self, texts):
            self.words = [len(words) for words in texts]
            return super().split(texts)

    tokenizer = Recording.from_source(encoder_folders["bert"], 16)
    long, exact = tokenizer.split_contexts([" river" * 10_000, " river" * 16])
    assert tokenizer.words == [16, 16]
    assert long == exact
    assert len(tokenizer.split_contexts(["everybody " * 16])[0]) == 16


def test_words_that_cannot_be_read_are_not_split(bert):
    texts = [["Jordan"] * 1000, ["\ufe0f"] * 1000 + ["Jordan"], ["Jordan", "lands"]]
    bert = WordTokenizer(bert.tokenizer, 16)
    pieces = bert.split_readable(texts, [0, 0, 0])
    assert list(map(len, pieces)) == [16, 1001, 2]
    for words, some in zip(texts, pieces, strict=True):
        assert bert.encode(some) == bert.encode(bert.split([words])[0])


@pytest.mark.parametrize(("head", "tail"), [((0, 1), (4, 6)), ((500, 501), (700, 702))])
def test_pairs_in_long_texts_are_encoded_as_with_all_words(bert, head, tail):
    words = ["Jordan", "lands", "in", "Phoenix", "\ufe0f"] * 200
    relation = Relation(Entity(*head, "PER"), Entity(*tail, "LOC"), "r")
    bert = WordTokenizer(bert.tokenizer, 16)
    (some,) = bert.split_readable([words], [tail[1]])
    assert len(some) < len(words)
    (every,) = bert.split([words])
    assert bert.encode_pair(some, relation) == bert.encode_pair(every, relation)


def test_a_word_without_end_is_split_in_part(bert):
    (pieces,) = bert.split([["a" * 10**6]])
    assert len(pieces[0]) <= 100 * bert.max_tokens
