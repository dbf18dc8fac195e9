"""Values of tables: what is missing, and lists of objects."""

import numpy as np
import pandas as pd
import pytest

from mmie.data.parsing import MalformedLine
from mmie.data.values import is_missing, objects_of, parse_json_cell


@pytest.mark.parametrize("value", [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT])
def test_missing_values(value):
    assert is_missing(value)


@pytest.mark.parametrize("value", ["", 0, 0.0, False, [], b""])
def test_values_that_are_not_missing(value):
    assert not is_missing(value)


@pytest.mark.parametrize("value", [{}, {"a": 1}, {"a": [1], "b": [1, 2]}, [{"a": 1}], "a"])
def test_what_is_no_object_of_lists_stays(value):
    assert objects_of(value) == value


def test_cells_of_json():
    assert parse_json_cell(" [1]", "a list") == [1]
    assert parse_json_cell(" ", "a list") is None


@pytest.mark.parametrize("text", ["[1", "[" * 100_000])
def test_cells_that_are_no_json_are_malformed(text):
    with pytest.raises(MalformedLine, match="expected a list, found"):
        parse_json_cell(text, "a list")
