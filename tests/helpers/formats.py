"""Files of annotation formats for tests, and reading of them."""

import json
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

EXPECTED = [("Ann", "PER"), ("Rome", "LOC")]
"""Entities of all tables and JSON records below."""
CONLL_2003 = (
    "-DOCSTART- -X- -X- O\n\nAnn NNP B-NP I-PER\nLee NNP I-NP I-PER\nsees VBZ B-VP O\n"
    "Rome NNP B-NP I-LOC\nParis NNP B-NP B-LOC\n\nIt PRP B-NP O\nrains VBZ B-VP O\n"
)
BRAT_TEXT = "Ann Lee sees North\nand South America."
BRAT_ANN = (
    "T1\tPER 0 7\tAnn Lee\nT2\tLOC 13 18\tNorth\nT3\tLOC 13 18;29 36\tNorth America\n"
    "E1\tSee:T1\nA1\tSure T1\n#1\tAnnotatorNotes T1\tnice\n*\tEquiv T1 T2\n"
    "R1\tsees Arg1:T1 Arg2:T2\nR2\tin Arg2:T1 Arg1:T2\nR3\tsees Arg1:T1 Arg2:T3\n"
)


def table(*rows, delimiter=","):
    """Return the text of a table whose cells are quoted where needed."""
    lines = []
    for row in rows:
        cells = ['"' + str(cell).replace('"', '""') + '"' for cell in row]
        lines.append(delimiter.join(cells))
    return "\n".join(lines) + "\n"


SPANS = [{"start": 0, "end": 3, "label": "PER"}, [7, 11, "LOC"]]
LAYOUTS = {
    "json": table(["Tweet ID", "Tweet", "Spans"], ["7", "Ann in Rome", json.dumps(SPANS)]),
    "python": table(["id", "text", "entities"], ["7", "Ann in Rome", str(SPANS)]),
    "spans": table(
        ["id", "text", "start", "end", "label"],
        ["7", "Ann in Rome", 0, 3, "PER"],
        ["7", "Ann in Rome", "7.0", 11, "LOC"],
    ),
    "spans without ids": table(
        ["sentence", "begin", "end", "type", "mention"],
        ["Ann in Rome", 0, 3, "PER", "Ann"],
        ["Ann in Rome", 7, 11, "LOC", "Rome"],
    ),
    "words": table(
        ["Sentence #", "Word", "POS", "Tag"],
        ["Sentence: 1", "Ann", "NNP", "B-PER"],
        ["", "in", "IN", "O"],
        ["", "Rome", "NNP", "B-LOC"],
    ),
    "elements": table(["text"], ["<PER>Ann</PER> in <LOC>Rome</LOC>"]),
    "brackets": table(["text", "n"], ["[Ann](PER) in [Rome](LOC)", 1]),
    "tags": table(["words", "ner_tags"], ['["Ann", "in", "Rome"]', "['B-PER', 'O', 'B-LOC']"]),
    "tags in a text": table(["words", "tags"], ["Ann in Rome", "B-PER O B-LOC"]),
    "bare tags": table(["tokens", "tags"], ["Ann in Rome", "PER O LOC"]),
}
"""Tables of each layout."""
WORDS = ["Ann", "in", "Rome"]
SPERT = {
    "tokens": WORDS,
    "entities": [{"type": "PER", "start": 0, "end": 1}, {"type": "LOC", "start": 2, "end": 3}],
    "relations": [{"type": "in", "head": 0, "tail": 1}],
    "orig_id": 3,
}
JSON_RECORDS = {
    "tags": {"tokens": WORDS, "ner_tags": ["B-PER", "O", "B-LOC"]},
    "ids of tags": {"tokens": WORDS, "ner_tags": [1, 0, 2]},
    "bare tags": {"words": WORDS, "labels": ["PER", "O", "LOC"]},
    "SpERT": SPERT,
    "Prodigy": {
        "text": "Ann in Rome",
        "tokens": [{"text": "Ann", "id": 0}],
        "spans": [
            {"start": 0, "end": 3, "label": "PER", "token_start": 0},
            {"start": 7, "end": 11, "label": "LOC"},
        ],
    },
    "triples": {"sentence": "Ann in Rome", "ner": [[0, 3, "PER"], [7, 11, "LOC"]]},
    "words and text": {
        "text": "Ann in Rome",
        "words": WORDS,
        "entities": [
            {"pos": [0, 3], "type": "PER", "name": "Ann"},
            {"pos": [7, 11], "type": "LOC"},
        ],
    },
}
"""Records with the keys of other programs."""


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
