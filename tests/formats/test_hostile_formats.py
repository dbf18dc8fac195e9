"""Readers of formats on any bytes: every row is a post or named, and nothing else is raised."""

import csv
import io
import json

import pytest
from helpers.formats import (
    ANN,
    BRAT_ANN,
    BRAT_TEXT,
    CONLL_2003,
    JORDAN,
    JSON_RECORDS,
    LAYOUTS,
    read,
)
from helpers.hostile import check_message, check_post, damaged, limited_examples, mutated
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmie.data.post_json import post_from_json
from mmie.data.text_files import find_encoding
from mmie.formats import FormatError

LIMITED = limited_examples(1 if settings.default.max_examples > 1000 else 5)
"""20 examples of each, and all of the profile with ``--soak``."""
TWEETS = "IMGID:1\nAnn\tB-PER\nin\tO\n\nIMGID:2\nRome\tI-LOC\n"


def files(*valid: str):
    """Return a strategy of files: damaged valid ones, or random bytes."""
    contents = [damaged(text.encode()) for text in valid]
    return st.one_of(*contents, st.binary(max_size=40))


def check(path, name: str, count: int | None = None, **options) -> None:
    """Read a file and check that every row of it is a post or named.

    Args:
        path: The file.
        name: Name of the format.
        count: Number of rows, for tables the least one, since a line in a quote may be a row; None
            if it is not known.
        **options: Further `ReadOptions`.
    """
    try:
        posts, bad, _ = read(path, name, **options)
    except FormatError as error:
        check_message(error)
        return
    if count is not None:
        total = len(posts) + len(bad)
        assert total >= count if name == "tables" else total == count
    for record in posts:
        image = record.pop("image", None)
        assert image is None or str(image)
        check_post(post_from_json(record, path.parent), path.parent)
        json.dumps(record)
    for item in bad:
        check_message(f"{item.place}: {item.reason}", "expected")


@LIMITED
@given(data=files(CONLL_2003, TWEETS))
@example(data=b"IMGID:1\n\nIMGID:2\na\tO\n")
@example(data=b"IMGID:1\na\tO\n\nIMGID:")
def test_conll(tmp_path, data):
    file = tmp_path / "posts.txt"
    file.write_bytes(data)
    check(file, "conll", conll_posts(data))


def conll_posts(data: bytes) -> int | None:
    """Count the posts of a file of tweets literally; None for files with other marks."""
    text = data.decode("utf-8", errors="replace").removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.startswith("IMGID:") or "#" in text or "-DOCSTART-" in text or "\r" in text:
        return None
    lines = text.split("\n")
    if not find_encoding(data).startswith("utf-8") or "\t" in lines[0].strip():
        return None
    return sum(line.startswith("IMGID:") and "\t" not in line.strip() for line in lines)


@LIMITED
@given(text=files(BRAT_TEXT), annotations=files(BRAT_ANN))
def test_brat(tmp_path, text, annotations):
    (tmp_path / "brat").mkdir(exist_ok=True)
    (tmp_path / "brat" / "one.txt").write_bytes(text)
    (tmp_path / "brat" / "one.ann").write_bytes(annotations)
    check(tmp_path / "brat", "brat", 1)


@LIMITED
@given(data=files(LAYOUTS["json"], LAYOUTS["elements"], LAYOUTS["tags"]))
@example(data=b"text\n\0\n")
def test_tables_of_posts(tmp_path, data):
    file = tmp_path / "posts.csv"
    file.write_bytes(data)
    check(file, "tables", table_rows(data))


def table_rows(data: bytes) -> int | None:
    """Count the rows of a table with commas; None for tables of another kind."""
    text = data.decode("utf-8", errors="replace").removeprefix("\ufeff")
    header = text.partition("\n")[0]
    if any(sign in header for sign in ";\t|") or '"start"' in header or '"word"' in header:
        return None
    if text.lower().startswith("sep=") or not find_encoding(data).startswith("utf-8"):
        return None
    count = -1
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            count += any(next(rows)) or count < 0
        except StopIteration:
            return count
        except csv.Error:
            count += 1


@LIMITED
@given(data=files(LAYOUTS["spans"], LAYOUTS["words"], LAYOUTS["spans without ids"]))
def test_tables_of_spans_and_words(tmp_path, data):
    file = tmp_path / "posts.csv"
    file.write_bytes(data)
    check(file, "tables")


@LIMITED
@given(
    records=st.lists(st.one_of(*(mutated(record) for record in JSON_RECORDS.values())), max_size=3),
    damage=st.none() | files(json.dumps(list(JSON_RECORDS.values()))),
)
def test_json(tmp_path, records, damage):
    file = tmp_path / "posts.json"
    file.write_bytes(json.dumps(records).encode() if damage is None else damage)
    names = ("O", "B-PER", "B-LOC")
    check(file, "json", len(records) if damage is None else None, tag_names=names)


@LIMITED
@given(data=files(f"{json.dumps(ANN)}\n{json.dumps(JORDAN)}\n"), record=mutated(ANN))
@example(data=b"\x1c", record=ANN)
@example(data=b"", record={"text": "\ud800 \udcff"})
def test_jsonl(tmp_path, data, record):
    file = tmp_path / "posts.jsonl"
    content = json.dumps(record).encode() + b"\n" + data
    file.write_bytes(content)
    lines = sum(bool(line.strip()) for line in content.split(b"\n"))
    # an array or a sequence of other values may be read as a document
    check(file, "jsonl", lines if isinstance(record, dict) else None)


@pytest.mark.parametrize("name", ["jsonl", "json", "tables", "conll", "brat"])
@pytest.mark.parametrize("depth", [10, 1000, 100_000])
def test_nested_values(tmp_path, name, depth):
    file = tmp_path / "posts.ann"
    file.write_bytes(b'{"id": 1, "words": ' + b"[" * depth + b"]" * depth + b"}")
    check(file, name)
