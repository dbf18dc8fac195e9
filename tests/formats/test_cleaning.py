"""Cleaning of records: blanks, overlaps, entities within words."""

from pathlib import Path

import pytest
from helpers.formats import ANN, JORDAN, tagged

from mmie.data.parsing import MalformedLine
from mmie.data.post_json import post_from_json
from mmie.data.words import split_offsets
from mmie.formats import FORMATS, Notes
from mmie.formats.cleaning import clean_record, in_characters, in_words


def entity(start, end, kind="PER", **further):
    return {"start": start, "end": end, "type": kind, **further}


def clean(**record):
    notes = Notes()
    return clean_record({"id": "a", **record}, notes), notes


def test_clean_records_do_not_change():
    for record in (ANN, JORDAN):
        notes = Notes()
        assert clean_record(record, notes) == record
        assert notes == Notes()


def test_blanks_at_the_ends_are_trimmed():
    record, notes = clean(text="  Ann  in ", entities=[entity(1, 7, probability=0.5)])
    assert record["entities"] == [entity(2, 5, probability=0.5)]
    assert notes.remarks.total() == 1


def test_an_entity_within_a_word_splits_it():
    head, tail = {"start": 2, "end": 5}, {"start": 6, "end": 8}
    relations = [{"head": head, "tail": tail, "label": "in"}]
    record, notes = clean(text="reAnn Rome", entities=[entity(2, 5)], relations=relations)
    assert post_from_json(record, Path()).words == ("re", "Ann", "Ro", "me")
    assert in_words(record)["words"] == ["re", "Ann", "Ro", "me"]
    assert in_words(record)["relations"][0]["tail"] == {"start": 2, "end": 3}
    assert notes.remarks == {
        "posts with entities that begin or end within a word, which is split": 1
    }


def test_what_overlaps_is_left_out_and_counted():
    entities = [entity(0, 3), entity(0, 7, "ORG"), entity(0, 7, "ORG"), entity(3, 4)]
    record, notes = clean(text="Ann Lee", entities=entities)
    assert record["entities"] == [entity(0, 7, "ORG")]
    assert notes.unused == {
        "entities that share words with a longer one": 1,
        "entities that are given twice": 1,
        "entities that cover only blanks": 1,
    }


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "'words' or 'text', found neither"),
        ({"text": "Ann", "words": ["Bob"]}, "'text' to consist of 'words'"),
        ({"text": " "}, "at least one word"),
        ({"text": "Ann", "entities": [entity(0, 4)]}, "0 <= start < end <= 3"),
        ({"text": "Ann", "entities": [entity(0, 3, None)]}, "an entity with a 'type'"),
        ({"text": "Ann", "relations": [{"label": "a"}]}, "a relation with a 'head'"),
        ({"text": "a" * 100_001}, "a text of at most"),
        (
            {
                "text": "A b",
                "relations": [
                    {
                        "head": {"start": 1, "end": 2},
                        "tail": {"start": 2, "end": 3},
                        "label": "a",
                    }
                ],
            },
            "words in the head of a relation",
        ),
    ],
)
def test_a_post_that_cannot_be_held_is_refused_without_notes(record, reason):
    notes = Notes()
    with pytest.raises(MalformedLine, match="expected") as caught:
        clean_record({"id": "a", **record}, notes)
    assert reason in str(caught.value)
    assert notes == Notes()


def test_words_and_characters():
    assert in_words(ANN)["entities"] == [entity(0, 2), entity(5, 6, "LOC")]
    characters = in_characters(JORDAN)
    assert characters["text"] == "Jordan lands #now on"
    assert tagged(characters) == tagged(JORDAN)
    assert in_characters(in_words(ANN))["text"] == "Ann Lee ' s in Rome"
    assert (in_words(JORDAN), in_characters(ANN)) == (JORDAN, ANN)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(MalformedLine, match="expected UTF-8 text, found the byte 0xeb at byte 3"):
        clean(text="Zo\udceb left")


@pytest.mark.parametrize("name", ["conll", "brat"])
def test_what_a_format_cannot_hold_is_counted(tmp_path, name):
    entity = {"start": 0, "end": 1, "type": "PER", "probability": 0.5}
    record = {"id": "a", "words": ["Ann"], "entities": [entity], "images": ["a.jpg", "b.jpg"]}
    record |= {"crops": ["c.jpg"], "context": "a jet", "likes": 0, "tags": ["x", "y"], "url": None}
    notes = Notes()
    FORMATS[name].write([record], tmp_path / "out", notes)
    held = " that the format cannot hold"
    assert notes.unused == {
        f"images{held}": 2,
        f"crops{held}": 1,
        f"context{held}": 1,
        f"key 'likes'{held}": 1,
        f"key 'tags'{held}": 1,
        f"probabilities{held}": 1,
    }


def test_a_text_is_split_once():
    text = "Ann landed in Rome"
    record = {"id": "1", "text": text, "entities": [{"start": 0, "end": 2, "type": "PER"}]}
    split_offsets.cache_clear()
    assert clean_record(record, Notes())["text"] == text
    assert split_offsets.cache_info().misses == 1
    assert split_offsets.cache_info().hits >= 2
