"""Posts of files, tables and folders, and what is said of those that cannot be read."""

import json

import pytest

from mmie.data.sources import BadPost, SourceError, count_posts, read_source
from mmie.types import Post


def write_lines(file, records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def test_unknown_keys_and_columns_are_warned_of_once(tmp_path):
    lines = write_lines(
        tmp_path / "posts.ndjson",
        [{"text": "Jordan", "img": "a.jpg"}, {"text": "lands", "foto": ""}],
    )
    with pytest.warns(UserWarning, match="line 1: unknown keys ignored: 'img'") as warned:
        assert len(list(read_source(str(lines)))) == len(warned) + 1 == 2
    table = tmp_path / "POSTS.TSV"
    table.write_text("text\tpath\tlikes\nJordan\ta.jpg\t3\n")
    with pytest.warns(UserWarning, match=r"POSTS\.TSV: columns ignored: 'likes'$"):
        (post,) = read_source(str(table))
    assert post.image == tmp_path / "a.jpg"


def test_an_absolute_path_may_lie_in_the_pictures_folder(tmp_path):
    lines = [
        {"text": "in", "image": str(tmp_path / "a.jpg")},
        {"text": "out", "image": str(tmp_path.parent / "a.jpg")},
    ]
    inside, outside = read_source(str(write_lines(tmp_path / "posts.jsonl", lines)))
    assert inside.image == tmp_path / "a.jpg"
    assert isinstance(outside, BadPost)


def test_tables_are_read_row_by_row(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    table = tmp_path / "posts.csv"
    table.write_text(
        'id,text,image,likes\n7,"Jordan, again",a.jpg,3\n,second,,\n9,too,many,fields,here\n'
    )
    with pytest.warns(UserWarning, match="columns ignored: 'likes'"):
        first, second, third = read_source(str(table))
    assert first == Post(
        "7",
        ("Jordan", ",", "again"),
        tmp_path / "a.jpg",
        text="Jordan, again",
        offsets=first.offsets,
    )
    assert (second.id, second.text, second.image) == ("3", "second", None)
    assert third == BadPost("4", "expected 4 fields, found more: quote what holds the delimiter")
    assert count_posts(str(table)) == 3
    table.write_text("id,body\n1,x\n")
    with pytest.raises(SourceError, match="expected a column 'text'"):
        list(read_source(str(table)))


def test_folders_are_read_by_name(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "a.txt").write_text("from a folder")
    (tmp_path / "b.txt").write_bytes(b"\xff")
    (tmp_path / "c.txt").symlink_to("/etc/hostname")
    (tmp_path / "c.png").symlink_to("/etc/hostname")
    (tmp_path / "d.webp").write_bytes(b"")
    posts = list(read_source(str(tmp_path)))
    assert (posts[0].id, posts[0].words, posts[0].image) == (
        "a",
        ("from", "a", "folder"),
        tmp_path / "a.jpg",
    )
    assert posts[0].text == "from a folder"
    assert [bad.place for bad in posts[1:3]] == ["b.txt", "c.txt"]
    assert posts[3] == Post("d", text="", image=tmp_path / "d.webp")
    assert count_posts(str(tmp_path)) == len(posts) == 4


def test_sources_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(SourceError, match="found none"):
        read_source(str(tmp_path / "none.jsonl"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "posts.jsonl").write_text("{}")
    with pytest.raises(SourceError, match="found none: name a file of posts"):
        read_source(str(tmp_path / "folder"))
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match=r"or a file named \.jsonl, \.csv or \.tsv"):
        read_source(str(tmp_path / "a.jpg"))
