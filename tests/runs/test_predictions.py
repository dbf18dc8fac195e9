"""Lines of predictions, written and read."""

import json

import pytest

from mmie.data.post_json import parse_post
from mmie.runs import RunError
from mmie.runs.predictions import PredictionRecord, prediction_line, read_prediction_file
from mmie.types import Entity, Post, Prediction, Relation

WORDS = ("Jordan", "lands", "in", "New", "York")
PERSON, PLACE = Entity(0, 1, "PER"), Entity(3, 5, "LOC")
POST = Post("7", WORDS, entities=(PERSON, PLACE))
RELATION = Relation(PERSON, PLACE, "/per/loc/at")


def write_and_read(tmp_path, *lines: str) -> list[PredictionRecord]:
    """Write lines to a file of predictions and read it."""
    file = tmp_path / "predictions.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_prediction_file(file)


def test_entities_that_are_written_and_read_are_the_same(tmp_path):
    line = prediction_line(POST, None, Prediction("7", (PLACE,), probabilities=(0.5,)))
    assert write_and_read(tmp_path, line) == [
        PredictionRecord("7", WORDS, None, gold=(PERSON, PLACE), predicted=(PLACE,))
    ]


@pytest.mark.parametrize(
    ("label", "predicted"), [("/per/loc/from", (Entity(0, 1, "/per/loc/from"),)), ("None", ())]
)
def test_a_relation_is_an_entity_with_its_label(tmp_path, label, predicted):
    relation = Relation(PERSON, PLACE, label)
    line = prediction_line(POST, RELATION, Prediction("7", (), (relation,), (0.5,)))
    (record,) = write_and_read(tmp_path, line)
    assert record.gold == (Entity(0, 1, "/per/loc/at"),)
    assert record.predicted == predicted
    assert record.arguments == (PERSON, PLACE)


def test_a_line_is_a_post_of_the_jsonl_layout(tmp_path):
    line = prediction_line(POST, None, Prediction("7", (PLACE,), probabilities=(0.5,)))
    record = json.loads(line)
    assert record["entities"] == [
        {"text": "New York", "type": "LOC", "start": 3, "end": 5, "probability": 0.5}
    ]
    post = parse_post(line, tmp_path, "1")
    assert (post.words, post.entities) == (WORDS, (PLACE,))


def test_lines_of_earlier_versions_are_read(tmp_path):
    entity = {"start": 3, "end": 5, "type": "LOC"}
    relation = {"head": {"start": 0, "end": 1, "type": "PER"}, "tail": entity, "label": "at"}
    post = {"id": "7", "words": WORDS, "image": None}
    ner_line = json.dumps({**post, "gold": [entity], "predicted": []})
    re_line = json.dumps({**post, "gold": relation, "predicted": {**relation, "label": "None"}})
    entities, relations = write_and_read(tmp_path, ner_line, re_line)
    assert (entities.gold, entities.predicted) == ((PLACE,), ())
    assert (relations.gold, relations.predicted) == ((Entity(0, 1, "at"),), ())
    assert relations.arguments == (PERSON, PLACE)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"id": "7"}',
        '{"id": "7", "words": ["a"], "image": 3, "entities": [], "gold": {"entities": []}}',
        '{"id": "7", "words": ["a"], "image": null, "entities": [{"start": 0, "end": 2, '
        '"type": "PER"}], "gold": {"entities": []}}',
        '{"id": "7", "words": ["a"], "image": null, "relations": [], "gold": {"relations": []}}',
    ],
)
def test_a_malformed_line_is_named(tmp_path, line):
    with pytest.raises(RunError, match=r"predictions\.jsonl:1: expected a line of `mmie test`"):
        write_and_read(tmp_path, line)
