"""Exports of doccano in both forms."""

import json

import pytest
from helpers.labelled import EMOJI, RECORDS, write_and_read

from mmie.data.sources import BadPost
from mmie.formats.base import Notes, ReadOptions
from mmie.formats.doccano import Doccano

TEXT = "😂 Ann in Rome"
TRIPLES = {"id": 5, "text": TEXT, "label": [[2, 5, "PER"], [9, 13, "LOC"]], "Comments": []}
OBJECTS = {
    "id": 5,
    "text": TEXT,
    "entities": [
        {"id": 70, "label": "PER", "start_offset": 2, "end_offset": 5},
        {"id": 71, "label": "LOC", "start_offset": 9, "end_offset": 13},
    ],
    "relations": [{"id": 3, "from_id": 70, "to_id": 71, "type": "in"}],
    "image": "a.jpg",
    "Comments": ["sure?"],
}


def read(tmp_path, *lines):
    file = tmp_path / "all.jsonl"
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    notes = Notes()
    return list(Doccano().read(file, ReadOptions(), notes)), notes


def covered(record):
    return [
        (record["text"][item["start"] : item["end"]], item["type"]) for item in record["entities"]
    ]


@pytest.mark.parametrize("line", [TRIPLES, {**TRIPLES, "labels": TRIPLES["label"], "label": []}])
def test_lists_of_spans(tmp_path, line):
    (record,), _ = read(tmp_path, line)
    assert covered(record) == [("Ann", "PER"), ("Rome", "LOC")]
    assert (record["id"], record["relations"]) == (5, [])


def test_relations_between_entities(tmp_path):
    (record,), notes = read(tmp_path, OBJECTS)
    assert covered(record) == [("Ann", "PER"), ("Rome", "LOC")]
    (relation,) = record["relations"]
    assert (relation["head"]["start"], relation["tail"]["start"], relation["label"]) == (2, 9, "in")
    assert record["image"] == "a.jpg"
    assert notes.unused == {"comments": 1}


def test_labels_of_whole_posts_are_not_read(tmp_path):
    (record,), notes = read(tmp_path, {"text": "a", "label": ["positive"]})
    assert record["entities"] == []
    assert record["label"] == ["positive"]
    assert notes.unused == {"labels of whole posts": 1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "a JSON object"),
        ({**OBJECTS, "relations": [{"from_id": 70, "to_id": 9, "type": "in"}]}, "ids of entities"),
        ({**OBJECTS, "relations": [{"from_id": [], "to_id": 70}]}, "ids of entities"),
        ({"text": "a", "label": 5}, "'label' to be a list"),
    ],
)
def test_malformed_lines_are_named(tmp_path, line, reason):
    (good, bad), _ = read(tmp_path, TRIPLES, line)
    assert good["id"] == 5
    assert isinstance(bad, BadPost)
    assert bad.place == "line 2"
    assert reason in bad.reason


def test_lists_are_written_unless_a_post_has_relations(tmp_path):
    plain = {key: value for key, value in EMOJI.items() if key != "relations"}
    for records, key in (([plain], "label"), (RECORDS, "entities")):
        file = tmp_path / f"{key}.jsonl"
        write_and_read(Doccano(), records, file)
        line = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
        assert line["post_id"] == "a"
        assert "id" not in line
        assert len(line[key]) == 2
        assert ("label" in line) == (key == "label")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (json.dumps(TRIPLES), True),
        (json.dumps({"text": "a", "label": []}) + "\n" + json.dumps(OBJECTS) + '\n{"text', True),
        ('{"text": "a", "label": ["positive"]}', False),
        ('{"text": "a", "entities": [{"start": 0, "end": 1, "type": "X"}]}', False),
        ("[]\n{", False),
    ],
)
def test_lines_are_recognised_by_their_spans(tmp_path, head, expected):
    assert Doccano().recognises(tmp_path / "a.jsonl", head) is expected
