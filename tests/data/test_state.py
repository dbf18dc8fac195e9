"""State of the data module as plain values, and what is rejected."""

import json
from dataclasses import replace

import pytest

from mmie.data.pictures import ImageTransform
from mmie.data.state import DataState, DataStateError, read_schema, schema_difference
from mmie.types import Schema

SCHEMA = Schema("ner", ("LOC", "PER"), 100, "bioes", image_size=32, mask_id=4)
STATE = DataState(SCHEMA, {"tokenizer.json": "{}"}, ImageTransform(32, "squash", 1000), True, 3)


def test_plain_values_restore_the_state():
    values = STATE.to_dict()
    assert DataState.from_dict(values) == STATE
    assert DataState.from_dict(json.loads(json.dumps(values))) == STATE


def test_states_without_epochs_start_at_zero():
    values = STATE.to_dict()
    del values["epochs"]
    assert DataState.from_dict(values) == replace(STATE, epochs=0)


@pytest.mark.parametrize("key", ["schema", "tokenizer", "transform", "use_context"])
def test_missing_values_are_rejected(key):
    values = STATE.to_dict()
    del values[key]
    with pytest.raises(DataStateError, match=f"KeyError: '{key}'"):
        DataState.from_dict(values)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": {}},
        {"schema": {"labels": [], "no_such_field": 1}},
        {"schema": None},
        {"tokenizer": 7},
        {"transform": {"resize": "stretch", "max_pixels": 1}},
        {"transform": {"resize": "crop", "max_pixels": True}},
        {"transform": {"resize": "crop", "max_pixels": "1"}},
        {"transform": []},
        {"use_context": 1},
    ],
)
def test_values_of_another_type_are_rejected(change):
    with pytest.raises(DataStateError):
        DataState.from_dict({**STATE.to_dict(), **change})


def test_labels_of_a_schema_become_a_tuple():
    values = STATE.to_dict()["schema"]
    assert read_schema({**values, "labels": ["LOC", "PER"]}) == SCHEMA


def test_the_first_difference_of_schemas():
    other = replace(SCHEMA, labels=("PER", "LOC"), tag_scheme="bio")
    names = ("task", "tag_scheme", "labels")
    assert schema_difference(SCHEMA, SCHEMA, names) is None
    assert schema_difference(SCHEMA, other, names) == "tag_scheme"
    assert schema_difference(SCHEMA, other, ("task", "vocab_size")) is None


def test_schemas_of_older_checkpoints_have_one_picture():
    values = STATE.to_dict()["schema"]
    del values["num_images"]
    assert read_schema(values) == SCHEMA
    assert read_schema({**values, "num_images": 3}).num_views == 3 + SCHEMA.num_objects
