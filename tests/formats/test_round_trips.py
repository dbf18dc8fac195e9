"""Posts that are written in a format and read again, in every pair of formats."""

import itertools
from pathlib import Path

import pytest
from helpers.formats import RECORDS, read

from mmie.data.post_json import post_from_json
from mmie.formats import FORMATS, Notes
from mmie.formats.cleaning import in_words

WITHOUT_RELATIONS = {"conll"}
"""Formats that hold no relations."""
WRITTEN = [name for name, format in FORMATS.items() if format.writes]


def content(records, relations: bool):
    """Return what two formats must agree on: ids, words, entities, and relations if both can."""
    posts = [post_from_json(in_words(record), Path()) for record in records]
    return [
        (post.id, post.words, post.entities, post.relations if relations else ()) for post in posts
    ]


def through(name: str, records, folder: Path):
    """Write records in a format and read them again."""
    file = folder / f"posts_{name}{next(iter(FORMATS[name].suffixes), '')}"
    if name == "brat":
        file = folder / "brat"
    FORMATS[name].write(records, file, Notes())
    posts, bad, _ = read(file)
    assert bad == []
    return posts


@pytest.mark.parametrize(("first", "second"), itertools.product(WRITTEN, WRITTEN))
def test_every_pair_of_formats(tmp_path, first, second):
    posts = through(first, RECORDS, tmp_path / "first")
    again = through(second, posts, tmp_path / "second")
    relations = WITHOUT_RELATIONS.isdisjoint({first, second})
    assert content(again, relations) == content(RECORDS, relations)


def test_json_lines_keep_everything(tmp_path):
    record = {**RECORDS[0], "image": "a.jpg", "context": "a jet", "url": ["x"]}
    record["entities"] = [{**record["entities"][0], "probability": 0.5}]
    assert through("jsonl", [record], tmp_path) == [record]


@pytest.mark.parametrize("name", [name for name in WRITTEN if FORMATS[name].holds_pictures])
def test_pictures_are_named(tmp_path, name):
    record = {**RECORDS[1], "image": "images/a.jpg", "context": "a jet"}
    (post,) = through(name, [record], tmp_path)
    assert (post["image"], post["context"]) == ("images/a.jpg", "a jet")


def test_an_interrupted_writer_leaves_nothing(tmp_path):
    def broken():
        yield RECORDS[0]
        raise RuntimeError("stopped")

    for name in WRITTEN:
        with pytest.raises(RuntimeError, match="stopped"):
            FORMATS[name].write(broken(), tmp_path / name, Notes())
    assert list(tmp_path.iterdir()) == []
