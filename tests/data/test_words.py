"""Words and their places in a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmie.data.words import (
    MAX_CHARACTERS,
    MAX_WORDS,
    find_unsplit,
    join_words,
    split_offsets,
    split_words,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Jordan lands.", ["Jordan", "lands", "."]),
        ("don't", ["don", "'", "t"]),
        ("  a\tb\n", ["a", "b"]),
        ("see http://t.co/aB1?x=2. ok", ["see", "http://t.co/aB1?x=2", ".", "ok"]),
        ("(www.a.org/b)", ["(", "www.a.org/b", ")"]),
        ("@ann_1 #Cup2018!", ["@ann_1", "#Cup2018", "!"]),
        ("me@home.org", ["me", "@", "home", ".", "org"]),
        ("我爱New York", ["我", "爱", "New", "York"]),
        ("東京タワー", list("東京タワー")),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("cafe\u0301 ok", ["cafe\u0301", "ok"]),
        ("☕\ufe0f!", ["☕\ufe0f", "!"]),
        ("서울 시", ["서울", "시"]),
        ("", []),
        (" \u3000", []),
    ],
)
def test_split(text, words):
    assert [word for word, _, _ in split_words(text)] == words


@given(st.text())
def test_words_cover_everything_but_spaces_in_order(text):
    pieces = split_words(text)
    covered = [position for _, start, end in pieces for position in range(start, end)]
    assert covered == [
        position for position, character in enumerate(text) if not character.isspace()
    ]
    assert all(text[start:end] == word and word for word, start, end in pieces)


def test_the_end_of_a_text_without_end_is_left_out():
    long = "word " * MAX_CHARACTERS
    pieces = split_words(long)
    assert len(pieces) == MAX_WORDS
    offsets = [(start, end) for _, start, end in pieces]
    assert find_unsplit(long, offsets) == offsets[-1][1]
    assert split_words("a" * 10**6) == [("a" * MAX_CHARACTERS, 0, MAX_CHARACTERS)]
    assert find_unsplit("a" * 10**6, [(0, MAX_CHARACTERS)]) == MAX_CHARACTERS
    assert find_unsplit(" " * 10**6, []) is None


def test_a_text_of_the_greatest_length_is_read_in_full():
    longest = "a " * MAX_WORDS
    offsets = [(start, end) for _, start, end in split_words(longest)]
    assert len(offsets) == MAX_WORDS
    assert find_unsplit(longest, offsets) is None


@pytest.mark.parametrize(
    "words",
    [
        ["می\u200cکنم", "می\u200cروم"],
        ["ශ්\u200dරී", "ලංකා"],
        ["क्\u200dष", "है"],
        ["👨\u200d👩\u200d👧", "👩🏽\u200d🚀", "❤️\u200d🔥", "1️⃣", "🇩🇪"],
        ["HTTPS://Example.org/Ab", "Www.x.de", "https://de.wikipedia.org/wiki/München"],
        ["https://ru.wikipedia.org/wiki/Москва", "https://例え.jp/a"],
    ],
)
def test_joiners_emoji_and_addresses_stay_whole(words):
    assert [word for word, _, _ in split_words(" ".join(words))] == words


def test_what_stands_beside_emoji_and_addresses_is_apart():
    text = "看https://t.co/a1\uff0c很好 🇩🇪🇫🇷 ok👍🏽! a.\u200db"
    words = [word for word, _, _ in split_words(text)]
    assert words[:5] == ["看", "https://t.co/a1", "\uff0c", "很", "好"]
    assert words[5:] == ["🇩🇪", "🇫🇷", "ok", "👍🏽", "!", "a", ".", "\u200d", "b"]


@given(st.lists(st.text(alphabet="aé东", min_size=1), max_size=4))
def test_joined_words_lie_at_their_offsets(words):
    text, offsets = join_words(iter(words))
    assert [text[start:end] for start, end in offsets] == words
    assert split_offsets("Ann left.") == ((0, 3), (4, 8), (8, 9))
