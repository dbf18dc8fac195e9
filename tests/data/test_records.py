"""The JSON form of predictions is a post that the JSONL layout reads."""

import json

from mmie.data.post_json import parse_post
from mmie.data.records import entity_record, relation_record, span_record
from mmie.types import Entity, Relation


def test_records_have_the_keys_of_the_layout():
    head = span_record("Jordan", "PER", 0, 6)
    tail = span_record("Rome", "LOC", 16, 20)
    assert head == {"text": "Jordan", "type": "PER", "start": 0, "end": 6}
    assert entity_record(head, 0.5) == {**head, "probability": 0.5}
    assert "probability" not in head
    assert relation_record(head, "/per/loc/at", tail, 0.25) == {
        "head": head,
        "label": "/per/loc/at",
        "tail": tail,
        "probability": 0.25,
    }


def test_a_post_of_records_is_read_with_its_labels(tmp_path):
    head, tail = span_record("Jordan", "PER", 0, 6), span_record("Rome", "LOC", 16, 20)
    record = {
        "id": "7",
        "text": "Jordan lands in Rome",
        "entities": [entity_record(head, 0.5), entity_record(tail, 0.75)],
        "relations": [relation_record(head, "/per/loc/at", tail, 0.25)],
    }
    post = parse_post(json.dumps(record), tmp_path, "1")
    entities = (Entity(0, 1, "PER"), Entity(3, 4, "LOC"))
    assert post.entities == entities
    assert post.relations == (Relation(*entities, "/per/loc/at"),)
