"""Words of JSON posts, and spans that count words or characters."""

import pytest

from mmie.data.parsing import MalformedLine
from mmie.data.post_text import PostText
from mmie.types import Entity

TEXT = "Ann's in  New York."


def test_words_are_given():
    text = PostText.from_record({"words": ["Ann", "lands"]})
    assert text == PostText(("Ann", "lands"))
    assert text.parse_span({"start": 1, "end": 2}, "a span") == (1, 2)


def test_words_are_split_from_a_text():
    text = PostText.from_record({"text": TEXT, "words": None})
    assert text.words == ("Ann", "'", "s", "in", "New", "York", ".")
    assert [TEXT[start:end] for start, end in text.offsets] == list(text.words)
    assert text.text == TEXT


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({}, "neither"),
        ({"words": ["a", "b"], "text": "a c"}, "to consist of 'words', with 'b' next"),
        ({"text": " "}, "at least one word"),
    ],
)
def test_words_or_a_text_are_required(record, found):
    with pytest.raises(MalformedLine, match=found):
        PostText.from_record(record)


def test_spans_of_a_text_count_characters():
    text = PostText.from_record({"text": TEXT})
    assert text.parse_span({"start": 10, "end": 18}, "a span") == (4, 6)
    assert text.parse_span({"start": 0, "end": len(TEXT)}, "a span") == (0, 7)
    with pytest.raises(MalformedLine, match=f"a span with 0 <= start < end <= {len(TEXT)}"):
        text.parse_span({"start": 0, "end": 20}, "a span")


@pytest.mark.parametrize(
    ("start", "end", "nearest"), [(11, 18, "'New', 10 to 13"), (10, 16, "'York', 14 to 18")]
)
def test_spans_within_words_are_rejected_with_the_nearest_word(start, end, nearest):
    text = PostText.from_record({"text": TEXT})
    with pytest.raises(MalformedLine, match=f"characters {start} to {end}, .* {nearest}"):
        text.parse_span({"start": start, "end": end}, "a span")


def test_an_entity():
    text = PostText(("Ann", "lands"))
    record = {"start": 0, "end": 1, "type": "PER"}
    assert text.parse_entity(record) == Entity(0, 1, "PER")
    with pytest.raises(MalformedLine, match="an entity with a 'type'"):
        text.parse_entity({**record, "type": ""})
    with pytest.raises(MalformedLine, match="an entity PER with 0 <= start < end <= 2"):
        text.parse_entity({**record, "end": 3})


def test_blanks_at_the_ends_of_a_span_are_left_out():
    record = {"text": " Ann  won ", "entities": [{"start": 0, "end": 6, "type": "PER"}]}
    text = PostText.from_record(record)
    assert text.parse_span({"start": 0, "end": 6}, "a span") == (0, 1)
    with pytest.raises(MalformedLine, match="characters that are not blank"):
        text.parse_span({"start": 4, "end": 6}, "a span")


def test_words_are_split_at_heads_and_tails_too():
    spans = {"head": {"start": 0, "end": 2}, "tail": {"start": 2, "end": 4}}
    text = PostText.from_record({"text": "abcdef", "relations": [spans, 3], "entities": "x"})
    assert text.words == ("ab", "cd", "ef")
    assert text.offsets == ((0, 2), (2, 4), (4, 6))
