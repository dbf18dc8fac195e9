"""What a method is asked about long posts."""

import pytest
from helpers.posts import make_schema, write_tokenizer

from mmie.data.encoding import WordTokenizer
from mmie.data.instances import encode_posts
from mmie.inference.asking import PostEncoder
from mmie.inference.reading import PostError, read_post
from mmie.types import Entity, Post, Relation


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return WordTokenizer(write_tokenizer(tmp_path_factory.mktemp("encoder")).tokenizer, 16)


def read(*words):
    return read_post(Post(words=words), 0, [])


def test_texts_are_long_if_their_subwords_do_not_fit_with_markers(tokenizer):
    encoder = PostEncoder(make_schema(tokenizer, "re"), tokenizer, False)
    reads = [read(*["a"] * 10), read(*["a"] * 11), read("a", "\ufe0f", *["aa"] * 9, "a")]
    texts = encoder.split_texts(reads, "windows").long
    assert {index: text.room for index, text in texts.items()} == {1: 10, 2: 10}
    pieces = tokenizer.split([reads[2].post.words])[0]
    assert texts[2].positions[1:3] == [1, 1]
    assert texts[2].positions[-1] == sum(map(len, pieces))
    assert encoder.split_texts(reads, "truncate") == ({}, {})
    with pytest.raises(PostError, match="its text has 11 subwords, the method of relations reads"):
        encoder.split_texts(reads, "error")


def test_relations_are_read_by_the_words_of_their_window(tokenizer):
    encoder = PostEncoder(make_schema(tokenizer, "re"), tokenizer, False)
    words = [f"{number}" for number in range(9)] * 3
    far = Relation(Entity(0, 1), Entity(20, 21), "works")
    near = Relation(Entity(20, 21), Entity(18, 19), "works")
    long = read_post(Post(words=tuple(words), relations=(far, near)), 0, [])
    (asked,) = encoder.ask_in_windows([long], encoder.split_texts([long], "windows").long)
    assert (asked.owner, asked.relation) == (0, near)
    own, window = asked.instance.relation, asked.instance.window
    assert asked.instance.post.words == tuple(words[window.start : window.end])
    assert (own.head.start, own.tail.start) == (20 - window.start, 18 - window.start)
    assert len(asked.instance) == 16


class CountingTokenizer(WordTokenizer):
    """Tokenizer that counts the words that it splits."""

    num_words = 0

    def split(self, texts):
        self.num_words += sum(map(len, texts))
        return super().split(texts)


@pytest.mark.parametrize("long", ["windows", "truncate", "error"])
def test_texts_of_relations_are_split_once(tokenizer, long):
    counting = CountingTokenizer(tokenizer.tokenizer, 16)
    encoder = PostEncoder(make_schema(counting, "re"), counting, False)
    relations = (Relation(Entity(0, 1), Entity(8, 9), "works"),)
    words = ("a", "\ufe0f", *"bcdefgh")
    reads = [read_post(Post(words=words, relations=relations), 0, []), read(), read(*"abc")]
    (asked,) = encoder.ask_relations(reads, encoder.split_texts(reads, long))
    assert counting.num_words == len(words) + len("abc")
    (expected,) = encode_posts([reads[0].post], encoder.schema, tokenizer)
    assert asked.instance == expected


def test_later_windows_are_those_of_long_posts(tokenizer):
    encoder = PostEncoder(make_schema(tokenizer), tokenizer, False)
    reads = [read("a"), read(*["a"] * 40), read()]
    asked = encoder.ask_entities(reads)
    assert [item.owner for item in asked] == [0, 1]
    assert encoder.check_lengths(reads, asked, "windows") == [1]
    windows = [item.instance.window for item in encoder.ask_windows(reads, [1])]
    assert (windows[0].start, windows[-1].end) == (0, 40)
    assert encoder.check_lengths(reads, asked, "truncate") == []
    assert reads[1].problems == ["text: only the first 14 of 40 words were read"]
    with pytest.raises(PostError, match="only the first 14 of 40 words fit the 14 subwords"):
        encoder.check_lengths(reads, asked, "error")
