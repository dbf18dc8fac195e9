"""Values of tables (pandas, NumPy, Arrow) as the plain values of JSON."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def is_missing(value: object) -> bool:
    """Tell whether a value is one of pandas' missing values: None, NaN, NA or NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def plain_value(value: Any) -> Any:
    """Convert a cell of a table to lists, dictionaries, strings and numbers. Missing is None.

    >>> plain_value({"start": np.int64(1), "type": np.array(["PER"])})
    {'start': 1, 'type': ['PER']}
    >>> plain_value((float("nan"), "a"))
    [None, 'a']
    """
    if is_missing(value):
        return None
    if isinstance(value, np.ndarray):
        return [plain_value(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return plain_value(value.item())
    if isinstance(value, Mapping):
        return {key: plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return value


def objects_of(value: Any) -> Any:
    """Return a list of objects in place of an object of equally long lists, and all else unchanged.

    Arrow and ``datasets`` store a list of objects in either way.

    >>> objects_of({"start": [0, 2], "type": ["PER", "LOC"]})
    [{'start': 0, 'type': 'PER'}, {'start': 2, 'type': 'LOC'}]
    """
    if not isinstance(value, dict) or not value:
        return value
    columns = list(value.values())
    if not all(isinstance(column, list) for column in columns):
        return value
    if len(set(map(len, columns))) != 1:
        return value
    return [dict(zip(value, items, strict=True)) for items in zip(*columns, strict=True)]
