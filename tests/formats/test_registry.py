"""Formats are found by content and by name."""

import json

import pytest
from helpers.formats import ANN, CONLL_2003, LAYOUTS, write_text

from mmie.formats import FORMATS, FormatError, find_format, recognise

CONTENTS = {
    ("posts.csv", json.dumps(ANN)): "jsonl",
    ("posts", json.dumps({"words": ["a"]})): "jsonl",
    ("posts.jsonl", json.dumps({"tokens": ["a"], "ner_tags": ["O"]})): "json",
    ("posts.jsonl", json.dumps({"text": "a", "entities": [[0, 1, "PER"]]})): "json",
    ("posts.txt", "{'token': ['a'], 'h': 1}\n"): "json",
    ("posts.json", "[\n {}]"): "json",
    ("posts.json", json.dumps({"data": [{"text": "a"}]}, indent=1)): "json",
    ("train.txt", CONLL_2003): "conll",
    ("train.tsv", "Ann\tB-PER\nis\tO\n"): "conll",
    ("posts.csv", LAYOUTS["words"]): "tables",
    ("posts.tsv", "id\ttext\n1\tAnn\n"): "tables",
    ("posts.txt", "id\ttext\n1\tAnn\n"): "tables",
    ("posts.ann", ""): "brat",
}


@pytest.mark.parametrize(("file", "expected"), CONTENTS.items())
def test_formats_are_recognised(tmp_path, file, expected):
    assert recognise(write_text(tmp_path / file[0], file[1])).name == expected


@pytest.mark.parametrize("content", [b"", b"\0\1\2", b"plain text of one line", b"a b c\nd\n"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "posts.txt").write_bytes(content)
    with pytest.raises(FormatError, match="name its format by --from"):
        recognise(tmp_path / "posts.txt")


def test_other_paths_and_names_are_refused(tmp_path):
    with pytest.raises(FormatError, match="found none"):
        recognise(tmp_path / "absent")
    with pytest.raises(FormatError, match="found another"):
        recognise(tmp_path)
    with pytest.raises(FormatError, match=r"unknown format 'brats': .* did you mean 'brat'"):
        find_format("brats")


def test_formats_have_names_and_descriptions():
    for name, format in FORMATS.items():
        assert format.name == name
        assert 20 < len(format.description) < 100
        assert all(suffix.startswith(".") for suffix in format.suffixes)
