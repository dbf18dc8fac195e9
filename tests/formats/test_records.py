"""Objects of records, and records without some keys."""

import pytest

from mmie.data.parsing import MalformedLine
from mmie.formats.records import list_objects, without_keys


def test_objects_may_be_absent_or_null():
    assert list_objects({}, "entities") == list_objects({"entities": None}, "entities") == []
    assert list_objects({"entities": [{"start": 0}]}, "entities") == [{"start": 0}]


@pytest.mark.parametrize("value", [3, "PER", {"start": 0}, [{"start": 0}, [0, 1]]])
def test_other_values_are_malformed(value):
    with pytest.raises(MalformedLine, match="'entities' to be a list of objects"):
        list_objects({"entities": value}, "entities")


def test_keys_are_left_out_of_a_copy():
    record = {"id": "7", "image": "7.jpg"}
    assert without_keys(record, "image", "crops") == {"id": "7"}
    assert record == {"id": "7", "image": "7.jpg"}
