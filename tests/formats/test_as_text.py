"""Records in characters, with their words where a text would be split differently."""

from helpers.labelled import FOUND, SPLIT

from mmie.formats.as_text import as_text


def test_words_stand_beside_a_text_that_would_be_split_differently():
    record = as_text(SPLIT)
    assert (record["text"], record["words"]) == ("😂 Don't U.S.", SPLIT["words"])
    assert record["entities"] == [{"start": 8, "end": 12, "type": "LOC"}]
    assert as_text(record) == record


def test_words_that_follow_from_the_text_are_left_out():
    assert as_text(FOUND) == FOUND
    assert as_text({"id": "a", "words": ["Ann", "left"]}) == {"id": "a", "text": "Ann left"}
    assert as_text({"text": "Ann  left", "words": ["Ann", "left"]}) == {"text": "Ann  left"}
