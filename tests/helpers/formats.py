"""Files of annotation formats for tests, and reading of them."""

from pathlib import Path

from mmie.data.sources import BadPost
from mmie.formats import FORMATS, Notes, ReadOptions, read_posts, recognise

ANN = {
    "id": "a",
    "text": "Ann Lee's in Rome",
    "entities": [{"start": 0, "end": 7, "type": "PER"}, {"start": 13, "end": 17, "type": "LOC"}],
    "relations": [
        {"head": {"start": 0, "end": 7}, "tail": {"start": 13, "end": 17}, "label": "/per/loc/at"}
    ],
}
EMPTY = {"id": "b", "text": "nobody here"}
JORDAN = {
    "id": "c",
    "words": ["Jordan", "lands", "#now", "on"],
    "entities": [{"start": 0, "end": 1, "type": "MISC"}, {"start": 1, "end": 4, "type": "ORG"}],
}
RECORDS = (ANN, EMPTY, JORDAN)
"""Cleaned posts: with a text and a relation, without entities, with words."""


def write_text(path: Path, text: str) -> Path:
    """Write a text file without conversion of line ends, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def read(path: Path, name: str | None = None, **options):
    """Return the posts, the bad posts and the notes of a file in a format, found or named."""
    notes = Notes()
    format = recognise(path) if name is None else FORMATS[name]
    items = list(read_posts(format, path, ReadOptions(**options), notes))
    bad = [item for item in items if isinstance(item, BadPost)]
    return [item for item in items if not isinstance(item, BadPost)], bad, notes


def tagged(record) -> list[tuple[str, str]]:
    """Return the text and the type of each entity of a record."""
    found = []
    for item in record.get("entities", []):
        tokens = record["text"] if "text" in record else record["words"]
        covered = tokens[item["start"] : item["end"]]
        found.append((covered if isinstance(covered, str) else " ".join(covered), item["type"]))
    return found
