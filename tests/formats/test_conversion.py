"""Conversion of a file: counts, bad posts beside the target, pictures."""

import json

import pytest
from helpers.formats import ANN, write_text

from mmie.formats import FORMATS, FormatError, ReadOptions, convert_file


def convert(source, target, name="jsonl"):
    return convert_file(source, target, FORMATS["jsonl"], FORMATS[name].write, ReadOptions())


def test_posts_are_counted_and_bad_ones_listed(tmp_path):
    lines = [json.dumps(ANN), "broken", json.dumps({"text": "Ann", "image": "../x.jpg"})]
    source = write_text(tmp_path / "in.jsonl", "\n".join(lines))
    result = convert(source, tmp_path / "out.jsonl")
    assert (result.posts, result.types, result.labels) == (
        1,
        {"PER": 1, "LOC": 1},
        {"/per/loc/at": 1},
    )
    assert [bad.place for bad in result.bad] == ["line 2", "post '3'"]
    errors = (tmp_path / "out.errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["place"] for line in errors] == ["line 2", "post '3'"]
    convert(write_text(source, lines[0]), tmp_path / "out.jsonl")
    assert not (tmp_path / "out.errors.jsonl").exists()


def test_a_file_without_a_readable_post_is_refused(tmp_path):
    source = write_text(tmp_path / "in.jsonl", "broken")
    with pytest.raises(FormatError, match="found no post that can be read; line 1: expected"):
        convert(source, tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_pictures_are_found_from_the_target(tmp_path):
    write_text(tmp_path / "a.jpg", "picture")
    source = write_text(tmp_path / "in.jsonl", json.dumps({"text": "Ann", "image": "a.jpg"}))
    convert(source, tmp_path / "corpus" / "train.jsonl")
    (line,) = (tmp_path / "corpus" / "train.jsonl").read_text().splitlines()
    assert (tmp_path / "corpus" / json.loads(line)["image"]).read_text() == "picture"
