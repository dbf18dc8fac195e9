"""Entities marked within a text: ``<PER>Jordan</PER> lands`` or ``[Jordan](PER) lands``."""

import re
from typing import Any

from mmie.data.parsing import MalformedLine
from mmie.utils.text import safe_repr

_TYPE = r"[A-Za-z][\w./-]{0,63}"
_ELEMENT = re.compile(rf"<(?P<type>{_TYPE})>(?P<text>[^<>]*)</(?P=type)>")
_BRACKET = re.compile(rf"\[(?P<text>[^\[\]]+)\]\((?P<type>{_TYPE})\)")
_LONE = re.compile(rf"</?{_TYPE}>")


def has_marks(text: str) -> bool:
    """Tell whether entities are marked in a text.

    >>> has_marks("<PER>Ann</PER> is here"), has_marks("[Ann](PER)"), has_marks("[a](http://b.c)")
    (True, True, False)
    """
    return _ELEMENT.search(text) is not None or _BRACKET.search(text) is not None


def read_marks(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Return a text without its marks, and the entities that they mark.

    Raises:
        MalformedLine: An element is not closed, or holds another one.

    >>> read_marks("<PER>Ann</PER> in [Rome](LOC)")[0]
    'Ann in Rome'
    >>> read_marks("in [Rome](LOC)")[1]
    [{'start': 3, 'end': 7, 'type': 'LOC'}]
    """
    pattern = re.compile(f"{_named(_ELEMENT, 'e')}|{_named(_BRACKET, 'b')}")
    plain = ""
    entities: list[dict[str, Any]] = []
    position = 0
    for match in pattern.finditer(text):
        plain += text[position : match.start()]
        kind = "e" if match["etype"] is not None else "b"
        covered = match[f"{kind}text"]
        if covered:
            span = {"start": len(plain), "end": len(plain) + len(covered)}
            entities.append({**span, "type": match[f"{kind}type"]})
        plain += covered
        position = match.end()
    plain += text[position:]
    lone = _LONE.search(plain)
    if lone:
        raise MalformedLine("marks such as <PER>Ann</PER> that are closed", safe_repr(lone[0]))
    return plain, entities


def _named(pattern: re.Pattern[str], prefix: str) -> str:
    """Return a pattern whose groups have a prefix in front of their names."""
    return re.sub(r"(\?P[<=])(\w)", rf"\g<1>{prefix}\2", pattern.pattern)
