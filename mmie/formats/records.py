"""Records of posts as formats handle them: their objects, and records without some keys."""

from typing import Any

from mmie.data.parsing import Record, list_value

Item = dict[str, Any]
"""Entity or relation of a record."""


def list_objects(record: Record, key: str) -> list[Item]:
    """Return the objects of a list that may be absent or null.

    Raises:
        MalformedLine: The value is no list of objects.
    """
    return list_value(record, key, dict, "objects")


def without_keys(record: Record, *keys: str) -> Record:
    """Return a copy of a record without some keys.

    >>> without_keys({"id": "7", "text": "Ann", "image": "7.jpg"}, "image", "crops")
    {'id': '7', 'text': 'Ann'}
    """
    return {key: value for key, value in record.items() if key not in keys}
