"""Conversion of a file: counts, bad posts beside the target, pictures."""

import json

import pytest
from helpers.formats import ANN, write_text

from mmie.data.sources import BadPost, read_source
from mmie.data.sources.items import error_record
from mmie.formats import FORMATS, FormatError, ReadOptions, convert_file, recognise


def convert(source, target, name="jsonl", source_name="jsonl"):
    writer = FORMATS[name].write
    return convert_file(source, target, FORMATS[source_name], writer, ReadOptions())


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


def test_errors_are_listed_as_extract_lists_them(tmp_path):
    lines = [json.dumps({"id": 7, "text": 3}), "broken", json.dumps(ANN), '{"id": "8", "text": "\\']
    source = tmp_path / "in.jsonl"
    source.write_bytes("\n".join(lines).encode() + b'\xff"}')
    convert(source, tmp_path / "out.jsonl")
    errors = (tmp_path / "out.errors.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in errors]
    assert [(item["place"], item["kind"], item.get("id")) for item in found] == [
        ("post 1", "format", "7"),
        ("line 2", "json", None),
        ("line 4", "encoding", None),
    ]
    expected = []
    for item in read_source(str(source)):
        if isinstance(item, BadPost):
            expected.append({**error_record(item), "place": None, "reason": None})
    assert [{**item, "place": None, "reason": None} for item in found] == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("tables", 'id,text,entities\n7,Ann,{\n8,Bob,\n9,"Lee\n', ["7", ""]),
        ("json", '[{"id": 7, "text": "a", "entities": 3}, {"id": "8", "text": "b"}]', ["7"]),
        ("label_studio", '[{"id": 7, "data": {"text": 3}}, {"data": {"text": "b"}}]', ["7"]),
        ("doccano", '{"id": 7, "text": 3}\n{"id": 8, "text": "b", "label": []}', ["7"]),
        ("conll", "IMGID:7\n\nIMGID:8\nBob\tB-PER\n", ["7"]),
    ],
)
def test_errors_have_the_ids_of_their_posts(tmp_path, name, content, expected):
    source = write_text(tmp_path / ("in.csv" if name == "tables" else "in.txt"), content)
    result = convert(source, tmp_path / "out.jsonl", source_name=name)
    assert [bad.id for bad in result.bad] == expected


def test_a_file_without_a_readable_post_is_refused(tmp_path):
    source = write_text(tmp_path / "in.jsonl", "broken")
    with pytest.raises(FormatError, match="found no post that can be read; line 1: expected"):
        convert(source, tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_file_without_posts_is_refused(tmp_path):
    source = write_text(tmp_path / "in.json", "[]")
    with pytest.raises(FormatError, match=r"in\.json: expected json, found no post$"):
        convert(source, tmp_path / "out.jsonl", source_name="json")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_name_that_is_too_long_costs_no_post(tmp_path):
    posts = [{"text": "Ann", "image": f"{'x' * 300}.jpg"}, {"text": "Bob"}]
    source = write_text(tmp_path / "in.jsonl", "\n".join(map(json.dumps, posts)))
    result = convert(source, tmp_path / "corpus" / "train.jsonl")
    assert (result.posts, result.bad) == (2, [])
    assert result.read.unused == {"pictures that are not there": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("name", ["jsonl", "json", "tables", "conll"])
def test_encodings(tmp_path, name, encoding):
    contents = {
        "jsonl": '{"id": "1", "text": "Ann"}\n{"id": "2", "text": "Zoë"}\n',
        "json": '[{"id": "1", "text": "Ann"},\n{"id": "2", "text": "Zoë"}]',
        "tables": "id,text\n1,Ann\n2,Zoë\n",
        "conll": "IMGID:1\nAnn\tB-PER\n\nIMGID:2\nZoë\tB-PER\n",
    }
    source = tmp_path / ("in.csv" if name == "tables" else f"in.{name}")
    source.write_bytes(contents[name].encode(encoding))
    assert recognise(source).name == name
    result = convert(source, tmp_path / "out.jsonl", source_name=name)
    if encoding != "cp1252":
        assert (result.posts, result.bad) == (2, [])
        return
    assert result.posts == 1
    (bad,) = result.bad
    assert "the byte 0xeb at byte" in bad.reason
    assert "save the file as UTF-8" in bad.reason
    assert bad.place.endswith(" 3" if name == "tables" else " 5" if name == "conll" else " 2")


def test_pictures_are_found_from_the_target(tmp_path):
    write_text(tmp_path / "a.jpg", "picture")
    source = write_text(tmp_path / "in.jsonl", json.dumps({"text": "Ann", "image": "a.jpg"}))
    convert(source, tmp_path / "corpus" / "train.jsonl")
    (line,) = (tmp_path / "corpus" / "train.jsonl").read_text().splitlines()
    assert (tmp_path / "corpus" / json.loads(line)["image"]).read_text() == "picture"
