"""Relations between numbered entities and back."""

import pytest
from helpers.labelled import ARGUMENTS, EMOJI, FOUND, SPLIT

from mmie.formats.base import Notes
from mmie.formats.linking import (
    ARGUMENT,
    count_probabilities,
    link_relations,
    unlink_relations,
)


@pytest.mark.parametrize("record", [ARGUMENTS, EMOJI, FOUND, SPLIT])
def test_relations_come_back(record):
    notes = Notes()
    entities, links = link_relations(record, notes)
    plain = [(head, tail, {"label": item["label"]}) for head, tail, item in links]
    found, relations = unlink_relations(dict(enumerate(entities)), plain)
    spans = [(item["start"], item["end"]) for item in record.get("entities", [])]
    assert [(item["start"], item["end"]) for item in found] == spans
    for relation, expected in zip(relations, record.get("relations", []), strict=True):
        assert relation["label"] == expected["label"]
        for key in ("head", "tail"):
            assert relation[key].items() >= {k: expected[key][k] for k in ("start", "end")}.items()
    assert not notes.remarks


def test_arguments_without_a_type_are_no_entities():
    entities, links = link_relations(ARGUMENTS, Notes())
    assert [item["type"] for item in entities] == [ARGUMENT, ARGUMENT]
    found, (relation,) = unlink_relations(dict(enumerate(entities)), links)
    assert found == []
    assert "type" not in relation["head"]


def test_arguments_with_a_type_become_entities():
    notes = Notes()
    record = {**FOUND, "entities": []}
    entities, _ = link_relations(record, notes)
    assert [item["type"] for item in entities] == ["PER", "PER"]
    assert notes.remarks == {"heads and tails of relations that become entities": 2}


def test_probabilities_are_counted():
    notes = Notes()
    count_probabilities(FOUND, notes)
    count_probabilities(EMOJI, notes)
    assert notes.unused == {"probabilities that the format cannot hold": 3}
