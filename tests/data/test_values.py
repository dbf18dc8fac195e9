"""Values of tables: what is missing, and lists of objects."""

import numpy as np
import pandas as pd
import pytest

from mmie.data.values import is_missing, objects_of


@pytest.mark.parametrize("value", [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT])
def test_missing_values(value):
    assert is_missing(value)


@pytest.mark.parametrize("value", ["", 0, 0.0, False, [], b""])
def test_values_that_are_not_missing(value):
    assert not is_missing(value)


@pytest.mark.parametrize("value", [{}, {"a": 1}, {"a": [1], "b": [1, 2]}, [{"a": 1}], "a"])
def test_what_is_no_object_of_lists_stays(value):
    assert objects_of(value) == value
