"""Cleaning of records as formats of other programs have them, and spans in words or characters.

A cleaned record is one that `mmie.data.post_json` accepts:

- Spans of a text do not begin or end with blanks.
- Entities share no word. Of two that do, the longer one stays.
- Where an entity begins or ends within a word, the word is split there. A record with ``words``
  beside its ``text`` has only the words.

All that is changed or left out is counted in `Notes`.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

from mmie.data.parsing import MalformedLine, Record, check_name, check_span
from mmie.data.post_json import KEYS, post_from_json
from mmie.data.post_text import PostText, split_at, strip_span
from mmie.data.text_files import undecodable
from mmie.data.words import (
    MAX_CHARACTERS,
    MAX_WORDS,
    find_unsplit,
    join_words,
    split_offsets,
)
from mmie.formats.base import Notes
from mmie.formats.pictures import PICTURES
from mmie.formats.records import Item, list_objects, without_keys
from mmie.utils.text import safe_repr

Offsets = Sequence[tuple[int, int]]
"""First and last (exclusive) character of each word."""
_ARGUMENTS = ("head", "tail")


def clean_record(record: Record, notes: Notes) -> Record:
    """Return a record that `mmie.data.post_json` accepts, with all other keys.

    Args:
        record: Record with an ``id``. Pictures are not checked.
        notes: Receives what is changed or left out.

    Raises:
        MalformedLine: The record has neither words nor a text, is too long or no Unicode, or holds
            a span that lies outside or lacks a type or label.
    """
    cleaned = {key: value for key, value in record.items() if value is not None}
    bad = undecodable(str(cleaned.get("text", "")))
    if bad is not None:
        raise MalformedLine("UTF-8 text", bad, kind="encoding")
    text = PostText.from_record(cleaned)
    if find_unsplit(text.text or "", text.offsets) is not None:
        expected = f"a text of at most {MAX_CHARACTERS} characters and {MAX_WORDS} words"
        raise MalformedLine(expected, f"{len(text.text or '')} characters")
    entities = []
    for item in list_objects(cleaned, "entities"):
        entities.append(_clean_span(item, text, "an entity"))
        check_name(item.get("type"), "an entity with a 'type'")
    relations = [_clean_relation(item, text) for item in list_objects(cleaned, "relations")]
    changes = Notes()
    entities = _drop_overlaps(_drop_blank(entities, changes), changes)
    cleaned |= {"entities": entities, "relations": relations}
    if text.text is not None:
        cleaned = _split_words_at_spans(cleaned, text, changes)
    if "words" in cleaned and "text" in cleaned:
        cleaned = in_words(cleaned)
    if _trimmed(record, text):
        changes.remarks["posts with blanks at the ends of spans, which are left out of them"] = 1
    cleaned = {key: value for key, value in cleaned.items() if value != []}
    post_from_json(without_pictures(cleaned), Path())
    notes.unused.update(changes.unused)
    notes.remarks.update(changes.remarks)
    return cleaned


def in_words(record: Record) -> Record:
    """Return a cleaned record with ``words``, in which spans count words."""
    text = PostText.from_record(record)
    if text.text is None:
        return record
    return _count_words(record, list(text.words), text.offsets)


def in_characters(record: Record) -> Record:
    """Return a cleaned record with ``text``, in which spans count characters.

    Words are joined by spaces.
    """
    text = PostText.from_record(record)
    if text.text is not None:
        return record
    joined, offsets = join_words(text.words)
    characters = {**without_keys(record, "words"), "text": joined}
    return map_spans(characters, lambda start, end: (offsets[start][0], offsets[end - 1][1]))


def map_spans(record: Record, change: Callable[[int, int], tuple[int, int]]) -> Record:
    """Return a record with the start and end of every span changed.

    Args:
        record: A record.
        change: Function of start and end that returns the new ones.
    """

    def changed(item: Item) -> Item:
        start, end = change(item["start"], item["end"])
        return {**item, "start": start, "end": end}

    mapped = dict(record)
    if "entities" in record:
        mapped["entities"] = list(map(changed, list_objects(record, "entities")))
    if "relations" in record:
        relations = []
        for item in list_objects(record, "relations"):
            head, tail = changed(item["head"]), changed(item["tail"])
            relations.append({**item, "head": head, "tail": tail})
        mapped["relations"] = relations
    return mapped


def without_pictures(record: Record) -> Record:
    """Return a record without its pictures and crops."""
    return without_keys(record, *PICTURES)


def count_unheld(record: Record, held: Container[str], notes: Notes) -> None:
    """Count the parts of a record that a written format does not hold.

    Args:
        record: A cleaned record.
        held: Keys that the format holds.
        notes: Receives the counts: of items for the lists of a post, and else of records.
    """
    for key, value in record.items():
        if key in held or value is None or value == []:
            continue
        name = key if key in KEYS else f"key '{key}'"
        count = len(value) if key in KEYS and isinstance(value, list) else 1
        notes.unused[f"{name} that the format cannot hold"] += count


def _clean_span(item: Item, text: PostText, description: str) -> Item:
    """Return an entity or argument whose span begins and ends with no blank.

    Args:
        item: The entity or argument.
        text: Text of its post.
        description: What the span is, for the error.

    Raises:
        MalformedLine: The span lies outside the post.
    """
    length = len(text.words) if text.text is None else len(text.text)
    start, end = check_span(item.get("start"), item.get("end"), length, description)
    if text.text is not None:
        start, end = strip_span(text.text, start, end)
    return {**item, "start": start, "end": end}


def _clean_relation(item: Item, text: PostText) -> Item:
    """Return a relation whose arguments begin and end with no blank.

    Raises:
        MalformedLine: An argument is missing, lies outside the post or covers only blanks.
    """
    cleaned = dict(item)
    for name in _ARGUMENTS:
        if not isinstance(item.get(name), dict):
            raise MalformedLine(f"a relation with a {name!r}", safe_repr(item))
        cleaned[name] = _clean_span(item[name], text, f"the {name} of a relation")
        if cleaned[name]["start"] == cleaned[name]["end"]:
            raise MalformedLine(f"words in the {name} of a relation", "blanks")
    return cleaned


def _drop_blank(entities: Iterable[Item], notes: Notes) -> list[Item]:
    """Return the entities that cover more than blanks, each once."""
    kept: dict[tuple[int, int, str], Item] = {}
    for item in entities:
        key = (item["start"], item["end"], item["type"])
        if item["start"] == item["end"]:
            notes.unused["entities that cover only blanks"] += 1
        elif key in kept:
            notes.unused["entities that are given twice"] += 1
        else:
            kept[key] = item
    return list(kept.values())


def _drop_overlaps(entities: Sequence[Item], notes: Notes) -> list[Item]:
    """Return entities that share no place, in order, preferring the longest, then the first."""
    by_length = sorted(entities, key=lambda item: (item["start"] - item["end"], item["start"]))
    kept: list[Item] = []
    taken: set[int] = set()
    for item in by_length:
        positions = range(item["start"], item["end"])
        if taken.isdisjoint(positions):
            taken.update(positions)
            kept.append(item)
        else:
            notes.unused["entities that share words with a longer one"] += 1
    return sorted(kept, key=lambda item: item["start"])


def _trimmed(record: Record, text: PostText) -> bool:
    """Tell whether an entity of the uncleaned record begins or ends with a blank."""
    if text.text is None:
        return False
    for item in list_objects(record, "entities"):
        covered = text.text[item["start"] : item["end"]]
        if covered != covered.strip() and covered.strip():
            return True
    return False


def _split_words_at_spans(record: Record, text: PostText, notes: Notes) -> Record:
    """Return a record whose spans begin and end where words do, and count it if one does not.

    Given words are split there. Words of a text alone are split when the record is read.
    """
    cuts: set[int] = set()
    spans = list(list_objects(record, "entities"))
    for item in list_objects(record, "relations"):
        spans += [item["head"], item["tail"]]
    for item in spans:
        cuts |= {item["start"], item["end"]}
    offsets = list(split_at(text.offsets, cuts))
    has_words = "words" in record
    uncut = len(text.offsets) if has_words else len(split_offsets(text.text or ""))
    if len(offsets) == uncut:
        return record
    notes.remarks["posts with entities that begin or end within a word, which is split"] += 1
    if not has_words:
        return record
    assert text.text is not None
    words = [text.text[start:end] for start, end in offsets]
    return _count_words(record, words, offsets)


def _count_words(record: Record, words: Sequence[str], offsets: Offsets) -> Record:
    """Return a record with words in place of its text, in which spans count the words.

    Args:
        record: A record with a text.
        words: Words of the text.
        offsets: Their offsets. Every span begins and ends with a word.
    """
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for index, (start, end) in enumerate(offsets):
        starts[start] = index
        ends[end] = index + 1
    counted = {**without_keys(record, "text"), "words": list(words)}
    return map_spans(counted, lambda start, end: (starts[start], ends[end]))
