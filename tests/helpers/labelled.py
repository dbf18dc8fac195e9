"""Records that formats write and read again, and what of them must stay the same."""

import os
from pathlib import Path
from typing import Any

from mmie.data.post_json import post_from_json
from mmie.data.sources import BadPost
from mmie.formats.base import Format, Notes, ReadOptions
from mmie.formats.cleaning import clean_record, without_pictures
from mmie.formats.pictures import image_keys, picture_names
from mmie.types import Post

EMOJI = {
    "id": "a",
    "text": "😂  Ann's #Rome trip",
    "image": "images/a b.jpg",
    "crops": ["crops/a_0.jpg"],
    "context": "a square",
    "entities": [{"start": 3, "end": 6, "type": "PER"}, {"start": 10, "end": 14, "type": "LOC"}],
    "relations": [
        {
            "head": {"start": 3, "end": 6},
            "tail": {"start": 10, "end": 14},
            "label": "/per/loc/at",
        }
    ],
    "url": "https://example.org",
    "likes": 3,
}
PLAIN = {"id": "b", "text": "nothing here"}
SPLIT = {
    "id": "c",
    "words": ["😂", "Don't", "U.S."],
    "entities": [{"start": 2, "end": 3, "type": "LOC"}],
}
FOUND = {
    "id": "d",
    "text": "Ann met Bob",
    "entities": [
        {"start": 0, "end": 3, "type": "PER", "probability": 0.75},
        {"start": 8, "end": 11, "type": "PER", "probability": 0.5},
    ],
    "relations": [
        {
            "head": {"start": 8, "end": 11, "type": "PER"},
            "tail": {"start": 0, "end": 3, "type": "PER"},
            "label": "peer",
            "probability": 0.25,
        }
    ],
}
ARGUMENTS = {
    "id": "e",
    "text": "Ann left Rome",
    "relations": [
        {"head": {"start": 0, "end": 3}, "tail": {"start": 9, "end": 13}, "label": "from"}
    ],
}
"""Relation between spans that are no entities, as in MNRE."""
SHORT = {"id": "f", "text": "😂 Ann", "entities": [{"start": 2, "end": 5, "type": "PER"}]}
SEVERAL = {"id": "g", "text": "two views", "images": ["images/a b.jpg", "images/c.png"]}
"""Post with two pictures."""
RECORDS = [EMOJI, PLAIN, SPLIT, FOUND, ARGUMENTS, SHORT, SEVERAL]


def write_and_read(
    form: Format, records: list[dict[str, Any]], path: Path
) -> tuple[list[dict[str, Any]], Notes]:
    """Write records, read them again and clean them, and return them with the notes of both."""
    notes = Notes()
    form.write([clean_record(record, Notes()) for record in records], path, notes)
    read = list(form.read(path, ReadOptions(), notes))
    bad = [item for item in read if isinstance(item, BadPost)]
    assert bad == []
    return [clean_record(with_relative_pictures(item, path.parent), notes) for item in read], notes


def with_relative_pictures(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a record whose pictures are relative to a folder, as conversion makes them."""
    record = {**record, "id": str(record["id"])}
    images = [os.path.relpath(folder / name, folder) for name in picture_names(record)]
    record |= image_keys(images) if images else {}
    if record.get("crops"):
        record["crops"] = [os.path.relpath(folder / crop, folder) for crop in record["crops"]]
    return {key: value for key, value in record.items() if value is not None}


def content(record: dict[str, Any]) -> Post:
    """Return the words, entities and relations of a record, once it is clean, as a post."""
    post = post_from_json(without_pictures(clean_record(record, Notes())), Path())
    return Post(post.id, post.words, entities=post.entities, relations=post.relations)


def extras(record: dict[str, Any]) -> dict[str, Any]:
    """Return what of a record is neither text nor label."""
    labels = {"text", "words", "entities", "relations"}
    return {key: value for key, value in record.items() if key not in labels and value != []}
