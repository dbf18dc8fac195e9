"""Words and markers in subwords: real tokenizers of three families, literal answers for every order of entities."""

import random
import shutil

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast, XLMRobertaTokenizer

from mmie.data.demo.tiny_encoders import write_tiny_bert, write_tiny_roberta
from mmie.data.encoding import EncodedText, TokenizerError, WordTokenizer
from mmie.types import MARKERS, Entity, MmieError, Relation

TEXTS = [
    "Jordan lands in Phoenix with everybody from Amazon",
    "RT @newsdesk: look what we found in the river",
]
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
FAMILIES = ("bert", "roberta", "unigram")


def write_tiny_unigram(folder, texts):
    """A sentencepiece model that knows words and characters, and, as XLM-R's does, its special tokens by name."""
    pieces = {name: 0.0 for name in ("<s>", "<pad>", "</s>", "<unk>")}
    pieces |= {f"▁{word}": -1.0 for word in " ".join(texts).split()}
    pieces |= {chr(code): -5.0 for code in range(33, 127)} | {"▁": -4.0}
    XLMRobertaTokenizer(vocab=list(pieces.items())).save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    writers = {
        "bert": write_tiny_bert,
        "roberta": write_tiny_roberta,
        "unigram": write_tiny_unigram,
    }
    root = tmp_path_factory.mktemp("encoders")
    for name, writer in writers.items():
        writer(root / name, TEXTS)
    return {name: root / name for name in writers}


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request, folders):
    return WordTokenizer.from_source(folders[request.param], 128)


@pytest.fixture(scope="module")
def bert(folders):
    return WordTokenizer.from_source(folders["bert"], 64)


def words_as(length, tokenizer):
    """``length`` words, the third of two pieces, and the text of their tokens."""
    words = ["a", "b", "everybody", "d", "e", "f", "g", "h"][:length]
    return tokenizer.split([words])[0]


def shown(tokenizer: WordTokenizer, text: EncodedText) -> str:
    """Tokens with markers as H( H) T( T)."""
    names = dict(zip(MARKERS, ("H(", "H)", "T(", "T)"), strict=True))
    tokens = tokenizer.tokenizer.convert_ids_to_tokens(text.input_ids)
    assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")
    return " ".join(names.get(token, token) for token in tokens[1:-1])


def relation(head: tuple[int, int], tail: tuple[int, int]) -> Relation:
    return Relation(Entity(*head), Entity(*tail), "r")


def check_consistent(tokenizer: WordTokenizer, text: EncodedText, pieces) -> None:
    """All that an `EncodedText` says of itself agrees with the subwords of the words."""
    assert len(text) == len(text.input_ids) == len(text.token_words) <= tokenizer.max_tokens
    for place, start in enumerate(text.word_starts):
        own = [
            token
            for token, word in zip(text.input_ids, text.token_words, strict=True)
            if word == place
        ]
        assert own == pieces[place][: len(own)]
        assert (start > 0) == bool(own)
        assert not own or text.token_words.index(place) == start
        assert start >= 0 or pieces[place] or place != len(text.word_starts) - 1
    assert text.num_words == sum(start >= 0 for start in text.word_starts)


def test_words_are_split_as_each_would_be_by_itself(tokenizer):
    together = tokenizer.split([WORDS, WORDS[::-1], ("Jordan",)])
    alone = [tokenizer.split([[word]])[0][0] for word in WORDS]
    assert together == [alone, alone[::-1], alone[:1]]


def test_words_are_split_as_the_library_splits_them(tokenizer):
    for word, pieces in zip(WORDS, tokenizer.split([WORDS])[0], strict=True):
        assert (
            pieces
            == tokenizer.tokenizer([word], is_split_into_words=True, add_special_tokens=False)[
                "input_ids"
            ]
        )


@pytest.mark.parametrize(("family", "sign"), [("roberta", "Ġ"), ("unigram", "▁")])
def test_every_word_follows_a_space(folders, family, sign):
    """As within a sentence, the first one included: published models know most words only so."""
    for tokenizer in (
        first := WordTokenizer.from_source(folders[family]),
        WordTokenizer.from_files(first.to_files()),
    ):
        for pieces in tokenizer.split([["Jordan", "lands"]])[0]:
            assert tokenizer.tokenizer.convert_ids_to_tokens(pieces)[0].startswith(sign)


def test_no_text_and_no_words(tokenizer):
    assert tokenizer.split([]) == []
    assert tokenizer.split([[], ["a"]])[0] == []


def test_words_without_subwords_keep_their_place(bert):
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


def test_every_word_keeps_its_place_in_every_family(tokenizer):
    pieces = tokenizer.split([WORDS])[0]
    text = tokenizer.encode(pieces)
    check_consistent(tokenizer, text, pieces)
    assert text.num_words == len(WORDS)
    assert text.input_ids[1:-1] == [piece for word in pieces for piece in word]
    assert text.input_ids[0] == tokenizer.tokenizer.cls_token_id
    assert text.input_ids[-1] == tokenizer.tokenizer.sep_token_id


def test_spelled_special_tokens_are_text(tokenizer):
    backend = tokenizer.tokenizer
    special = {*backend.all_special_ids, *backend.convert_tokens_to_ids(list(MARKERS))} - {
        backend.unk_token_id
    }
    for word, pieces in zip(SPECIALS, tokenizer.split([SPECIALS])[0], strict=True):
        assert not special.intersection(pieces), word
        assert pieces, word


def test_spelled_special_tokens_keep_their_letters(bert):
    assert [
        bert.tokenizer.convert_ids_to_tokens(pieces)
        for pieces in bert.split([["[SEP]", "[UNK]"]])[0]
    ] == [
        ["[", "s", "##e", "##p", "]"],
        ["[", "u", "##n", "##k", "]"],
    ]


def test_truncation_cuts_whole_words(bert):
    pieces = [[10], [11, 12], [], [13, 14, 15, 16], [17]]
    for max_tokens, words in ((10, 5), (9, 4), (8, 3)):
        text = WordTokenizer(bert.tokenizer, max_tokens).encode(pieces)
        kept = [piece for word in pieces[:words] for piece in word]
        assert text.input_ids[1:-1] == kept
        assert text.num_words == len(text.word_starts) == words


def test_nothing_follows_the_first_word_that_does_not_fit(bert):
    text = WordTokenizer(bert.tokenizer, 8).encode([[10] * 5, [11, 12], [13]])
    assert text.word_starts == [1]


@pytest.mark.parametrize("before", [[], [[]], [[], []]])
def test_a_first_word_that_is_too_long_is_kept_in_part(bert, before):
    pieces = [*before, list(range(20, 40)), [10]]
    text = WordTokenizer(bert.tokenizer, 10).encode(pieces)
    assert text.input_ids[1:-1] == list(range(20, 28))
    assert text.word_starts == [*(0 for _ in before), 1]
    assert text.token_words == [-1, *[len(before)] * 8, -1]


def test_random_texts_agree_with_themselves(bert):
    random_numbers = random.Random(0)
    for _ in range(300):
        tokenizer = WordTokenizer(bert.tokenizer, random_numbers.randint(8, 20))
        pieces = [
            [random_numbers.randint(10, 90) for _ in range(random_numbers.randint(0, 4))]
            for _ in range(12)
        ]
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
def test_markers_stand_around_both_entities(bert, head, tail, expected):
    pieces = words_as(5, bert)
    text = bert.encode_pair(pieces, relation(head, tail))
    assert shown(bert, text) == expected
    tokens = shown(bert, text).split()
    assert text.markers == (1 + tokens.index("H("), 1 + tokens.index("T("))
    check_consistent(bert, text, pieces)


def test_markers_around_words_without_subwords(bert):
    pieces = bert.split([["\ufe0f", "a", "\u200d", "b"]])[0]
    assert shown(bert, bert.encode_pair(pieces, relation((0, 1), (2, 3)))) == "H( H) a T( T) b"


def test_a_sentence_of_one_word_that_is_both(bert):
    text = bert.encode_pair(bert.split([["everybody"]])[0], relation((0, 1), (0, 1)))
    assert shown(bert, text) == "H( T( ever ##ybody H) T)"
    assert text.markers == (1, 2)


@pytest.mark.parametrize(
    ("max_tokens", "expected"),
    [
        (15, "a b H( ever ##ybody H) d T( e T) f g h"),
        (14, "a b H( ever ##ybody H) d T( e T) f g"),
        (13, "a b H( ever ##ybody H) d T( e T) f"),
        (12, "a b H( ever ##ybody H) d T( e T)"),  # the end is used up
        (11, "b H( ever ##ybody H) d T( e T)"),
        (10, "H( ever ##ybody H) d T( e T)"),  # so is the start
        (9, "H( ever ##ybody H) T( e T)"),  # and what is between
        (8, "H( ever H) T( e T)"),
    ],
)
def test_truncation_keeps_both_entities(bert, max_tokens, expected):
    tokenizer = WordTokenizer(bert.tokenizer, max_tokens)
    pieces = words_as(8, tokenizer)
    for pair, text in (
        (relation((2, 3), (4, 5)), expected),
        (relation((4, 5), (2, 3)), swapped(expected)),
    ):
        encoded = tokenizer.encode_pair(pieces, pair)
        assert shown(tokenizer, encoded) == text
        assert len(encoded) == max_tokens
        check_consistent(tokenizer, encoded, pieces)


def swapped(tokens: str) -> str:
    """Head for tail."""
    return tokens.translate(str.maketrans("HT", "TH"))


def test_cut_off_words_are_told_from_words_without_subwords(bert):
    tokenizer = WordTokenizer(bert.tokenizer, 8)
    text = tokenizer.encode_pair([[10], [11], [], [12], [13], [14], [15]], relation((1, 3), (5, 6)))
    assert text.word_starts == [-1, 2, 0, -1, -1, 5]
    assert text.token_words == [-1, -1, 1, -1, -1, 5, -1, -1]
    assert text.num_words == 3


def test_truncation_cuts_whole_words_outside_the_entities(bert):
    tokenizer = WordTokenizer(bert.tokenizer, 12)
    text = tokenizer.encode_pair([[10], [11], [12] * 3, [13] * 3], relation((0, 1), (1, 2)))
    assert [token for token in text.input_ids if 10 <= token <= 13] == [10, 11, 12, 12, 12]


@pytest.mark.parametrize(
    ("head", "tail", "kept"),
    [
        ((0, 1), (1, 2), [20, 21, 22, 30]),  # the later one gives first, down to one subword
        ((1, 2), (0, 1), [20, 21, 22, 30]),
        ((0, 2), (1, 2), [20, 21, 22, 30]),
        ((0, 2), (0, 2), [20, 21, 22, 23]),
    ],
)
def test_entities_too_long_by_themselves_both_keep_something(bert, head, tail, kept):
    tokenizer = WordTokenizer(bert.tokenizer, 10)
    pieces = [[20, 21, 22, 23, 24], [30, 31, 32, 33], [40]]
    text = tokenizer.encode_pair(pieces, relation(head, tail))
    assert [
        token for token, word in zip(text.input_ids, text.token_words, strict=True) if word >= 0
    ] == kept
    assert len(text) == 10
    check_consistent(tokenizer, text, pieces)


def test_random_pairs_keep_what_they_must(bert):
    random_numbers = random.Random(1)
    for _ in range(500):
        tokenizer = WordTokenizer(bert.tokenizer, random_numbers.randint(8, 24))
        pieces = [
            [random_numbers.randint(10, 90) for _ in range(random_numbers.randint(0, 3))]
            for _ in range(9)
        ]
        spans = [sorted(random_numbers.sample(range(10), 2)) for _ in range(2)]
        text = tokenizer.encode_pair(pieces, relation(*map(tuple, spans)))
        check_consistent(tokenizer, text, pieces)
        names = shown(tokenizer, text).split()
        assert sorted(name for name in names if name in ("H(", "H)", "T(", "T)")) == [
            "H(",
            "H)",
            "T(",
            "T)",
        ]
        total = sum(map(len, pieces)) + 6
        entity_words = {word for start, end in spans for word in range(start, end)}
        if total <= tokenizer.max_tokens:
            assert len(text) == total
        if sum(len(pieces[word]) for word in entity_words) + 6 <= tokenizer.max_tokens:
            assert {word for word in entity_words if pieces[word]} <= set(text.token_words)
            assert all(text.token_words.count(word) in (0, len(pieces[word])) for word in range(9))
        else:
            assert len(text) == tokenizer.max_tokens
        for start, _ in spans:
            assert not pieces[start] or start in text.token_words


def test_markers_are_added_once(tokenizer):
    size = tokenizer.vocab_size
    ids = tokenizer.tokenizer.convert_tokens_to_ids(list(MARKERS))
    assert len(set(ids)) == 4
    assert tokenizer.tokenizer.unk_token_id not in ids
    again = WordTokenizer(tokenizer.tokenizer, 64)
    assert again.vocab_size == size == max(tokenizer.tokenizer.get_vocab().values()) + 1
    text = again.encode_pair([[10], [11]], relation((0, 1), (1, 2)))
    assert [text.input_ids[place] for place in text.markers] == [ids[0], ids[2]]


def test_markers_of_the_vocabulary_are_used(folders):
    before = BertTokenizer.from_pretrained(folders["bert"])
    known = before.convert_tokens_to_ids(list(MARKERS))
    size = len(before)
    assert WordTokenizer(before).vocab_size == size
    assert before.convert_tokens_to_ids(list(MARKERS)) == known


def test_files_make_the_same_tokenizer(tokenizer):
    files = tokenizer.to_files()
    assert all(type(name) is str and type(text) is str for name, text in files.items())
    again = WordTokenizer.from_files(files, 32)
    texts = [WORDS, SPECIALS, TEXTS[1].split()]
    assert again.split(texts) == tokenizer.split(texts)
    pieces = tokenizer.split([WORDS[:4]])[0]
    pair = relation((0, 1), (2, 4))
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


def is_one_line(error: pytest.ExceptionInfo, *parts: str) -> bool:
    message = str(error.value)
    return (
        isinstance(error.value, MmieError)
        and "\n" not in message
        and all(part in message for part in parts)
    )


def test_a_slow_tokenizer_is_refused():
    with pytest.raises(TokenizerError) as error:
        WordTokenizer(ByT5Tokenizer())
    assert is_one_line(error, "ByT5Tokenizer", "fast")


@pytest.mark.parametrize(
    "source", ["/no/such/folder", "no-such-model", "no/such-model", "a/b/c/d", ""]
)
def test_a_tokenizer_that_is_not_there_is_named(source):
    with pytest.raises(TokenizerError) as error:
        WordTokenizer.from_source(source)
    assert is_one_line(error, f"'{source}'", "tokenizer.json")


@pytest.mark.parametrize("content", [None, "{", "{}", "\0\1"])
def test_a_folder_without_a_sound_tokenizer_is_named(folders, tmp_path, content):
    shutil.copy(folders["bert"] / "config.json", tmp_path)
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError) as error:
        WordTokenizer.from_source(tmp_path)
    assert is_one_line(error, str(tmp_path), "tokenizer.json")


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=str(tmp_path)):
        WordTokenizer.from_source(tmp_path)


def test_a_tokenizer_of_no_encoder_is_refused():
    backend = Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(TokenizerError) as error:
        WordTokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"))
    assert is_one_line(error, "cls_token")


def test_too_few_tokens_are_refused(bert):
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
    (pieces,), pair = tokenizer.split([WORDS]), relation((0, 1), (3, 5))
    for text, with_none in (
        (tokenizer.encode(pieces), tokenizer.encode(pieces, [])),
        (tokenizer.encode_pair(pieces, pair), tokenizer.encode_pair(pieces, pair, ())),
    ):
        assert text == with_none
        assert (text.context_length, text.token_type_ids) == (0, [0] * len(text))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_words_are_cut_as_without_a_context_which_gets_what_they_leave(folders, family):
    random_numbers = random.Random(4)
    tokenizer = WordTokenizer.from_source(folders[family])
    separators = {"bert": 1, "roberta": 2, "unigram": 2}[family]
    seen = set()
    for _ in range(400):
        tokenizer.max_tokens = random_numbers.randint(8, 30)
        pieces = [
            [random_numbers.randint(10, 40) for _ in range(random_numbers.randint(0, 3))]
            for _ in range(8)
        ]
        context = [random_numbers.randint(10, 40) for _ in range(random_numbers.randint(0, 12))]
        spans = [tuple(sorted(random_numbers.sample(range(9), 2))) for _ in range(2)]
        for text, own in (
            (tokenizer.encode(pieces, context), tokenizer.encode(pieces)),
            (
                tokenizer.encode_pair(pieces, relation(*spans), context),
                tokenizer.encode_pair(pieces, relation(*spans)),
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


def test_special_tokens_that_a_context_spells_are_text(tokenizer):
    backend = tokenizer.tokenizer
    special = {*backend.all_special_ids, *backend.convert_tokens_to_ids(list(MARKERS))} - {
        backend.unk_token_id
    }
    (pieces,) = tokenizer.split_contexts([" ".join(SPECIALS)])
    assert not special.intersection(pieces)
    assert pieces == [piece for word in tokenizer.split([SPECIALS])[0] for piece in word]


def test_contexts_that_say_nothing(tokenizer):
    assert tokenizer.split_contexts([]) == []
    assert tokenizer.split_contexts([None, "", " \n\t "]) == [[], [], []]
    broken, plain = tokenizer.split_contexts(["a\ud800 b", "a? b"])
    assert broken == plain


def test_line_ends_of_a_context_are_spaces(tokenizer):
    assert (
        len(
            {
                tuple(pieces)
                for pieces in tokenizer.split_contexts(["a river", "a\nriver", " a \r\n\t river "])
            }
        )
        == 1
    )


def test_a_long_context_is_not_read_to_its_end(folders):
    class Recording(WordTokenizer):
        def split(self, texts):
            self.words = [len(words) for words in texts]
            return super().split(texts)

    tokenizer = Recording.from_source(folders["bert"], 16)
    long, exact = tokenizer.split_contexts([" river" * 10_000, " river" * 16])
    assert tokenizer.words == [16, 16]
    assert long == exact
    assert len(tokenizer.split_contexts(["everybody " * 16])[0]) == 16
