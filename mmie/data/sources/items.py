"""Posts that cannot be read, and sources that cannot."""

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mmie.data.parsing import MalformedLine
from mmie.types import MmieError
from mmie.utils.text import MAX_SHOWN

_MAX_NAMED = 10
"""Most names that a warning lists."""


class SourceError(MmieError, ValueError):
    """Source that cannot be read at all."""


@dataclass(frozen=True, slots=True)
class BadPost:
    """Post that cannot be read.

    Attributes:
        place: Number of its line or row from 1, or the name of its file.
        reason: What was expected, and what was found.
        kind: Kind of the fault: see `mmie.data.parsing.MalformedLine`.
        id: Id of the post; empty if it is not known.
    """

    place: str
    reason: str
    kind: str = "format"
    id: str = ""

    @classmethod
    def of(cls, place: str, error: MalformedLine, id: str = "") -> "BadPost":
        """Build the item of a post at a place whose parsing raised an error."""
        return cls(place, str(error), error.kind, id)


def error_record(post: BadPost) -> dict[str, str]:
    """Convert a post that could not be read to a record, with its id if that is known."""
    record = {"place": post.place, "kind": post.kind, "reason": post.reason}
    return {"id": post.id, **record} if post.id else record


def find_id(text: str) -> str:
    """Return the id of a JSON object that is no post, or "" if it has none.

    >>> find_id('{"id": 7, "text": 3}'), find_id("{")
    ('7', '')
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return id_of(value)


def id_of(record: object, key: str = "id") -> str:
    """Return the id under a key of a record that may be no post, or "" if it has none."""
    value = record.get(key) if isinstance(record, Mapping) else None
    return str(value) if type(value) in (int, str) else ""


def warn_of_ignored(title: str, names: Iterable[str]) -> None:
    """Warn of names that are not read."""
    listed = ", ".join(sorted(map(repr, names)))[:MAX_SHOWN]
    warnings.warn(f"{title}: {listed}", stacklevel=3)


def list_names(names: Iterable[str]) -> str:
    """List names in their order, ten at most, and count the rest."""
    names = list(names)
    listed = ", ".join(map(repr, names[:_MAX_NAMED]))
    more = len(names) - _MAX_NAMED
    return f"{listed} and {more} more" if more > 0 else listed
