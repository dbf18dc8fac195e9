"""Tags of words in the spellings of many corpora, as BIO or BIOES tags."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from mmie.data.parsing import MalformedLine, Record
from mmie.tags import OUTSIDE, tags_to_entities
from mmie.utils.text import safe_repr

_TAG = re.compile(r"(?P<prefix>[BIESLUM])[-_](?P<type>.+)", re.DOTALL)
_PREFIXES = {"L": "E", "U": "S", "M": "I"}
"""Prefixes of BILOU and BMES by those of BIOES."""


def is_tag(value: str) -> bool:
    """Tell whether a value is ``O`` or a prefix and a type.

    >>> is_tag("O"), is_tag("B-PER"), is_tag("NNP")
    (True, True, False)
    """
    return value == OUTSIDE or _TAG.fullmatch(value) is not None


def name_scheme(tags: Iterable[str]) -> str:
    """Name the scheme of the tags of a file.

    Args:
        tags: Tags of all words in order, with ``O`` between posts.

    >>> name_scheme(["I-PER", "O", "I-PER", "B-PER"]), name_scheme(["B-PER", "I-PER"])
    ('IOB1', 'BIO')
    >>> name_scheme(["I-PER", "O"]), name_scheme(["PER", "O"]), name_scheme(["U-PER", "O"])
    ('IO', 'IO without prefixes', 'BILOU')
    """
    prefixes: Counter[str] = Counter()
    opened_inside = 0
    previous = OUTSIDE
    for tag in tags:
        match = _TAG.fullmatch(tag)
        if match is None and tag != OUTSIDE:
            return "IO without prefixes"
        if match is not None:
            prefixes[match["prefix"]] += 1
            opened_inside += match["prefix"] == "I" and previous[2:] != tag[2:]
        previous = tag
    for scheme, own in (("BILOU", "LU"), ("BMES", "M"), ("BIOES", "ES")):
        if any(prefix in prefixes for prefix in own):
            return scheme
    if prefixes.keys() == {"I"}:
        return "IO"
    return "IOB1" if opened_inside > prefixes["B"] else "BIO"


def lack_prefixes(tags: Iterable[object]) -> bool:
    """Tell whether the tags of a file are types without prefixes, and no ids.

    >>> lack_prefixes(["PER", "O"]), lack_prefixes(["PER", "B-LOC"]), lack_prefixes(["0", "1"])
    (True, False, False)
    """
    has_types = False
    for tag in tags:
        if not isinstance(tag, str) or tag in ("", OUTSIDE):
            continue
        if is_tag(tag) or tag.isdigit():
            return False
        has_types = True
    return has_types


def read_tags(tags: Sequence[object], length: int, names: Sequence[str], bare: bool) -> Record:
    """Return the ``entities`` of a post by its tags.

    An ``I-X`` that continues no ``X`` opens an entity, as conlleval counts, in all schemes.

    Args:
        tags: Tags, or their ids.
        length: Number of words.
        names: Names of tags in the order of their ids.
        bare: Whether tags are types without prefixes.

    Raises:
        MalformedLine: Tags are more or fewer than words, an id has no name, or a tag does not have
            the form of a tag.
    """
    if len(tags) != length:
        raise MalformedLine(f"{length} tags", f"{len(tags)}")
    normal = [_normal_tag(_name(tag, names), bare) for tag in tags]
    entities = []
    for entity in tags_to_entities(normal):
        entities.append({"start": entity.start, "end": entity.end, "type": entity.type})
    return {"entities": entities}


def _name(tag: object, names: Sequence[str]) -> str:
    """Return a tag or the name of its id, which may be written as a text.

    Raises:
        MalformedLine: The tag is no string, and no id that has a name.
    """
    if names and isinstance(tag, str) and tag.isascii() and tag.isdigit() and len(tag) < 10:
        tag = int(tag)
    if isinstance(tag, str):
        return tag
    if type(tag) is int and not names:
        raise MalformedLine("tags by name, or --tag_names in the order of their ids", str(tag))
    if type(tag) is not int or not 0 <= tag < len(names):
        raise MalformedLine(f"a tag, or an id from 0 to {len(names) - 1}", safe_repr(tag))
    return names[tag]


def _normal_tag(tag: str, bare: bool) -> str:
    """Return a tag with a prefix of BIOES.

    Raises:
        MalformedLine: The tag has no prefix.
    """
    if tag == OUTSIDE:
        return tag
    if bare:
        return f"I-{tag}"
    match = _TAG.fullmatch(tag)
    if match is None:
        raise MalformedLine("a tag such as O, B-PER or I-LOC", safe_repr(tag))
    return f"{_PREFIXES.get(match['prefix'], match['prefix'])}-{match['type']}"
