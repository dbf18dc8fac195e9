"""Values of tables (pandas, NumPy, Arrow) as the plain values of JSON."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmie.data.parsing import MalformedLine
from mmie.utils.text import safe_repr


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


def parse_json_cell(text: str, expected: str) -> Any:
    """Return the value of a cell that holds JSON, or None if it is blank.

    Args:
        text: Text of the cell.
        expected: What the layout requires of the cell, for the error.

    Raises:
        MalformedLine: The text is no JSON.
    """
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedLine(expected, safe_repr(text)) from None


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
