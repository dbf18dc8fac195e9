"""Texts of JSON posts: lines, the objects of an array, or objects over several lines."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import NamedTuple

from mmie.data.parsing import MalformedLine
from mmie.data.text_files import is_blank

_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class JsonText(NamedTuple):
    """Text of a post.

    Attributes:
        number: Number of its line, or of the post in an array or in a sequence of objects, from 1.
        text: The JSON.
    """

    number: int
    text: str


def split_json(lines: Iterable[str], is_document: bool = False) -> Iterator[JsonText]:
    """Yield the text of each post.

    If the first line that is not blank is no JSON object, and the whole is an array or a sequence
    of objects, each object is a post. In all other cases each line that is not blank is one.

    Args:
        lines: Lines with their ends.
        is_document: Whether an array may hold other values, and is an error if it is no valid JSON.
            Otherwise its lines are taken as posts.

    Raises:
        MalformedLine: The text is an array that is no valid JSON.
    """
    lines = iter(lines)
    head: list[str] = []
    for line in lines:
        head.append(line)
        if not is_blank(line):
            break
    if head and not is_blank(head[-1]) and not _is_object(head[-1]):
        text = "".join([*head, *lines])
        try:
            objects = _split_document(text)
        except json.JSONDecodeError as error:
            if is_document and text.lstrip().startswith("["):
                raise MalformedLine("a JSON array", str(error), error.lineno, "json") from None
        except RecursionError:
            pass
        else:
            if is_document or (objects and all(item.startswith("{") for item in objects)):
                for number, item in enumerate(objects, start=1):
                    yield JsonText(number, item)
                return
        head, lines = text.split("\n"), iter(())
    for number, line in zip(count(1), chain(head, lines)):
        if not is_blank(line):
            yield JsonText(number, line.rstrip("\r\n"))


def _is_object(line: str) -> bool:
    """Tell whether a line is a JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _split_document(text: str) -> list[str]:
    """Return the texts of the items of an array, or of the values of a sequence.

    Raises:
        json.JSONDecodeError: The text is neither.
    """
    items: list[str] = []
    place = _skip_blanks(text, 0)
    if text[place : place + 1] == "[":
        place = _skip_blanks(text, _split_array(text, place, items))
        if place < len(text):
            raise json.JSONDecodeError("Extra data", text, place)
    while place < len(text):
        _, end = _DECODER.raw_decode(text, place)
        items.append(text[place:end])
        place = _skip_blanks(text, end)
    return items


def _split_array(text: str, start: int, items: list[str]) -> int:
    """Add the texts of the items of an array, and return the position behind it.

    Raises:
        json.JSONDecodeError: The array is no JSON.
    """
    place = _skip_blanks(text, start + 1)
    if text[place : place + 1] == "]":
        return place + 1
    while True:
        _, end = _DECODER.raw_decode(text, place)
        items.append(text[place:end])
        place = _skip_blanks(text, end)
        follower = text[place : place + 1]
        if follower == "]":
            return place + 1
        if follower != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, place)
        place = _skip_blanks(text, place + 1)


def _skip_blanks(text: str, place: int) -> int:
    """Return the position of the first character from a place on that is not blank."""
    match = _BLANKS.match(text, place)
    return match.end() if match else place
