"""Word runs, noun phrases and entities of posts."""

import pytest

from mmie.grounding.phrases import (
    MAX_PHRASES,
    entity_phrases,
    no_phrases,
    noun_phrases,
    phrase_source,
    word_phrases,
)
from mmie.types import Entity, Post, Relation


def post(text: str) -> Post:
    return Post("1", tuple(text.split()))


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("Kevin Durant enters Oracle Arena", ["Kevin Durant", "Oracle Arena", "enters"]),
        ("the red car of a man", ["red car", "man"]),
        ("RT @ ann : so #ILoveNewYork https://t.co/x", ["Love New York"]),
        ("I ' m a fan # NBA", ["NBA", "fan"]),
        ("cat Cat CAT 12 !!! 😩", ["Cat CAT", "cat"]),
        ("one big blue old house", ["big blue old", "house"]),
        ("of the and", []),
    ],
)
def test_word_phrases(text, phrases):
    assert word_phrases(post(text)) == phrases


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("I saw a bad dog with a time machine", ["bad dog", "time machine"]),
        ("Donald Trump at CNN with Chris Cuomo", ["Donald Trump", "CNN", "Chris Cuomo"]),
        (
            "two small cats , @ someone , http://t.co/1 #OracleArena",
            ["two small cats", "Oracle Arena"],
        ),
        ("it / they", []),
    ],
)
def test_noun_phrases(text, phrases):
    assert noun_phrases(post(text)) == phrases


@pytest.mark.parametrize("source", [noun_phrases, word_phrases])
@pytest.mark.parametrize(
    "words", [(), ("",), (" ",), ("#",), ("@", "#"), ("️",), ("a/b/c",), ("東京",), ("#!",)]
)
def test_odd_words_give_no_empty_phrase(source, words):
    assert all(phrase.strip() == phrase and phrase for phrase in source(Post("1", words)))


@pytest.mark.parametrize("source", [noun_phrases, word_phrases])
def test_phrases_are_distinct_and_bounded(source):
    words = [word for number in range(50) for word in (f"Cat{chr(97 + number % 26)}", "of", "the")]
    phrases = source(Post("1", tuple(words)))
    assert len(phrases) == len(set(phrases)) == MAX_PHRASES


def test_entity_phrases_are_heads_and_tails_of_relations():
    head, tail = Entity(0, 2, "PER"), Entity(3, 4, "ORG")
    both = Post(
        "1",
        ("Kevin", "Durant", "of", "OKC"),
        relations=(Relation(head, tail, "x"), Relation(tail, head, "y")),
    )
    assert entity_phrases(both) == ["Kevin Durant", "OKC"]
    assert no_phrases(both) == []


def test_phrase_source_by_kind():
    assert phrase_source("entities") is entity_phrases
    assert phrase_source("nouns") is noun_phrases
    assert phrase_source("words") is word_phrases


def test_nearly_all_real_posts_have_phrases(shared_data):
    from mmie.data import Twitter2017

    posts = Twitter2017(shared_data / "twitter2017").posts("test")
    for source in (noun_phrases, word_phrases):
        assert sum(bool(source(post)) for post in posts) > 0.98 * len(posts)
