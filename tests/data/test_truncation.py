"""Truncation of posts, and of posts with a relation, which keep both entities."""

from random import Random

import pytest
from helpers.encodings import check_consistent, make_relation, show_tokens, split_letters

from mmie.data.encoding import WordTokenizer
from mmie.data.truncation import truncate_pair, truncate_words


def swap_arguments(tokens: str) -> str:
    """Exchange the markers of head and tail."""
    return tokens.translate(str.maketrans("HT", "TH"))


def test_whole_words_are_cut_off(bert):
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


@pytest.mark.parametrize(
    ("max_tokens", "expected"),
    [
        (15, "a b H( ever ##ybody H) d T( e T) f g h"),
        (14, "a b H( ever ##ybody H) d T( e T) f g"),
        (13, "a b H( ever ##ybody H) d T( e T) f"),
        (12, "a b H( ever ##ybody H) d T( e T)"),  # nothing is left after the entities
        (11, "b H( ever ##ybody H) d T( e T)"),
        (10, "H( ever ##ybody H) d T( e T)"),  # nor before them
        (9, "H( ever ##ybody H) T( e T)"),  # nor between them
        (8, "H( ever H) T( e T)"),
    ],
)
def test_both_entities_are_kept(bert, max_tokens, expected):
    tokenizer = WordTokenizer(bert.tokenizer, max_tokens)
    pieces = split_letters(8, tokenizer)
    for pair, text in (
        (make_relation((2, 3), (4, 5)), expected),
        (make_relation((4, 5), (2, 3)), swap_arguments(expected)),
    ):
        encoded = tokenizer.encode_pair(pieces, pair)
        assert show_tokens(tokenizer, encoded) == text
        assert len(encoded) == max_tokens
        check_consistent(tokenizer, encoded, pieces)


def test_cut_off_words_differ_from_words_without_subwords(bert):
    tokenizer = WordTokenizer(bert.tokenizer, 8)
    text = tokenizer.encode_pair(
        [[10], [11], [], [12], [13], [14], [15]], make_relation((1, 3), (5, 6))
    )
    assert text.word_starts == [-1, 2, 0, -1, -1, 5]
    assert text.token_words == [-1, -1, 1, -1, -1, 5, -1, -1]
    assert text.num_words == 3


def test_whole_words_outside_the_entities_are_cut_off(bert):
    tokenizer = WordTokenizer(bert.tokenizer, 12)
    text = tokenizer.encode_pair([[10], [11], [12] * 3, [13] * 3], make_relation((0, 1), (1, 2)))
    assert [token for token in text.input_ids if 10 <= token <= 13] == [10, 11, 12, 12, 12]


@pytest.mark.parametrize(
    ("head", "tail", "kept"),
    [
        ((0, 1), (1, 2), [20, 21, 22, 30]),  # the later one is cut first, down to one subword
        ((1, 2), (0, 1), [20, 21, 22, 30]),
        ((0, 2), (1, 2), [20, 21, 22, 30]),
        ((0, 2), (0, 2), [20, 21, 22, 23]),
    ],
)
def test_entities_that_are_too_long_by_themselves_keep_their_starts(bert, head, tail, kept):
    tokenizer = WordTokenizer(bert.tokenizer, 10)
    pieces = [[20, 21, 22, 23, 24], [30, 31, 32, 33], [40]]
    text = tokenizer.encode_pair(pieces, make_relation(head, tail))
    assert [
        token for token, word in zip(text.input_ids, text.token_words, strict=True) if word >= 0
    ] == kept
    assert len(text) == 10
    check_consistent(tokenizer, text, pieces)


def test_random_pairs_keep_their_entities(bert):
    random = Random(1)
    for _ in range(500):
        tokenizer = WordTokenizer(bert.tokenizer, random.randint(8, 24))
        pieces = [[random.randint(10, 90) for _ in range(random.randint(0, 3))] for _ in range(9)]
        spans = [sorted(random.sample(range(10), 2)) for _ in range(2)]
        text = tokenizer.encode_pair(pieces, make_relation(*map(tuple, spans)))
        check_consistent(tokenizer, text, pieces)
        names = show_tokens(tokenizer, text).split()
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


def test_words_that_fit_are_kept():
    pieces = [[10], [11, 12], [], [13]]
    assert truncate_words(pieces, 4) == pieces
    assert truncate_words(pieces, 3) == pieces[:3]
    assert truncate_words(pieces, 2) == pieces[:1]
    assert truncate_words([[], [10, 11, 12], [13]], 2) == [[], [10, 11]]
    assert truncate_words([], 4) == []


def cut_word_by_word(pieces, relation, room):
    """Cut as `truncate_pair` does, but search the next subwords to cut anew each time."""
    kept = list(pieces)
    spans = [range(item.start, item.end) for item in (relation.head, relation.tail)]
    inside = sorted({*spans[0], *spans[1]})
    while sum(len(word or []) for word in kept) > room:
        outside = [i for i, word in enumerate(kept) if word is not None and i not in inside]
        after = [i for i in outside if i > inside[-1]]
        before = [i for i in outside if i < inside[0]]
        if outside:
            index = after[-1] if after else before[0] if before else outside[-1]
            kept[index] = None
            continue
        least = {i: int(i in (spans[0].start, spans[1].start)) for i in inside}
        longer = [i for i in inside if len(kept[i]) > least[i]]
        if not longer:
            break
        kept[longer[-1]] = kept[longer[-1]][:-1]
    return kept


def test_pairs_are_cut_as_word_by_word():
    random = Random(2)
    for _ in range(2000):
        pieces = [[random.randint(10, 90) for _ in range(random.randint(0, 3))] for _ in range(9)]
        spans = [tuple(sorted(random.sample(range(10), 2))) for _ in range(2)]
        relation = make_relation(*spans)
        room = random.randint(2, 20)
        assert truncate_pair(pieces, relation, room) == cut_word_by_word(pieces, relation, room)
