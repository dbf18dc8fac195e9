"""JSON lines are read back as they were written, and wrong lines are refused."""

import json

import pytest
from helpers.extractions import make_extraction

from mmie.inference.formats.text import (
    FormatError,
    from_json,
    read_jsonl,
    to_conll,
    to_json,
    to_triples,
)
from mmie.runs.predictions import prediction_line
from mmie.types import Entity, Extraction, Mention, Post, Prediction, Relation


def test_json_lines_are_read_back(found, tmp_path):
    file = tmp_path / "out.jsonl"
    lines = [json.dumps(to_json(post)) for post in found]
    file.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    assert list(read_jsonl(file)) == found


def test_a_relation_between_given_entities_is_read_back():
    known = make_extraction("a", [("Ann", "PER", 1.0), ("Rome", "LOC", 1.0)], [(0, "in", 1, 0.5)])
    post = Extraction("a", known.text, known.offsets, (), known.relations)
    assert from_json(to_json(post)) == post


def test_problems_are_in_the_json_only_if_there_are_any(found):
    assert to_json(found[0])["problems"] == ["image: missing"]
    assert "problems" not in to_json(found[1])


@pytest.mark.parametrize(
    "change",
    [
        {"text": None},
        {"text": 3},
        {"id": 7},
        {"entities": None},
        {"entities": [{"type": "PER", "start": 0, "end": 99, "probability": 1.0}]},
        {"entities": [{"type": "PER", "start": -1, "end": 2, "probability": 1.0}]},
        {"entities": [{"type": "PER", "start": 0, "end": 2, "probability": float("nan")}]},
        {"entities": [{"type": ["PER"], "start": 0, "end": 2, "probability": 1.0}]},
        {"entities": ["Ann"]},
        {"relations": [{"head": {}, "label": "in", "tail": {}, "probability": 0.5}]},
        {"problems": [1]},
    ],
)
def test_a_wrong_line_is_refused_in_one_line(found, change, tmp_path):
    file = tmp_path / "out.jsonl"
    lines = [to_json(found[0]), {**to_json(found[0]), **change}]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(FormatError, match=r"out\.jsonl:2: expected") as caught:
        list(read_jsonl(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_line_that_is_no_object_is_refused(line, tmp_path):
    (tmp_path / "out.jsonl").write_bytes(line)
    with pytest.raises(FormatError, match=r"out\.jsonl:1: "):
        list(read_jsonl(tmp_path / "out.jsonl"))


def test_conll_has_a_line_for_each_word(found):
    assert to_conll(found[0]) == ("IMGID:a\nAnn\tB-PER\nLee\tI-PER\nROME\tB-LOC\nAnn\tB-PER\n\n")
    assert "Lee\tE-PER\nROME\tS-LOC\n" in to_conll(found[0], "bioes")


def test_conll_refuses_a_mention_within_a_word(found):
    entity = {"type": "A", "start": 1, "end": 3, "probability": 1.0}
    post = from_json({**to_json(found[0]), "entities": [entity]})
    with pytest.raises(FormatError, match="post a: 'nn' starts or ends where no word does"):
        to_conll(post)


def test_triples_are_flat_rows(found):
    assert to_triples(found[2]) == [
        {
            "post": "c",
            "head": "Rome",
            "head_type": "LOC",
            "label": "lives in",
            "tail": "Rome",
            "tail_type": "ORG",
            "probability": 0.2,
        }
    ]


def test_lines_of_predictions_are_read():
    post = Post("7", ("Jordan", "lands", "in", "New", "York"))
    person, place = Entity(0, 1, "PER"), Entity(3, 5, "LOC")
    line = prediction_line(post, None, Prediction("7", (person, place), (), (0.5, 0.25)))
    extraction = from_json(json.loads(line))
    assert extraction.text == "Jordan lands in New York"
    assert [extraction.text[start:end] for start, end in extraction.offsets] == list(post.words)
    assert extraction.entities == (
        Mention("Jordan", "PER", 0, 6, 0.5),
        Mention("New York", "LOC", 16, 24, 0.25),
    )
    assert to_conll(extraction).splitlines()[1::3] == ["Jordan\tB-PER", "New\tB-LOC"]


@pytest.mark.parametrize(("label", "count"), [("/per/loc/at", 1), ("None", 0)])
def test_predicted_relations_are_read_unless_there_is_none(label, count):
    post = Post("7", ("Jordan", "in", "York"))
    head, tail = Entity(0, 1, "PER"), Entity(2, 3, "LOC")
    gold, predicted = Relation(head, tail, "/per/loc/from"), Relation(head, tail, label)
    line = prediction_line(post, gold, Prediction("7", (), (predicted,), (0.75,)))
    extraction = from_json(json.loads(line))
    assert extraction.entities == ()
    assert [(triple.label, triple.probability) for triple in extraction.relations] == (
        [(label, 0.75)] * count
    )


def test_entities_outside_the_words_are_refused():
    record = {"id": "7", "words": ["Jordan"], "entities": [{"start": 0, "end": 2, "type": "PER"}]}
    record["entities"][0]["probability"] = 1.0
    with pytest.raises(FormatError, match="a mention from 0 to 2 of a text of 1 words"):
        from_json(record)


def test_line_ends_in_ids_and_words_break_no_line_of_conll(tmp_path):
    extraction = Extraction("a\nb", "x\ty z", ((0, 3), (4, 5)))
    lines = to_conll(extraction).splitlines()
    assert lines == ["IMGID:a\\nb", "x\\ty\tO", "z\tO", ""]
