"""Sources of one's own posts, whatever their form."""

import io
import json
import sys

import pytest

from mmie.data.sources import BadPost, SourceError, SourceOptions, count_posts, read_source
from mmie.types import Post


def read(path, **settings) -> list[Post | BadPost]:
    return list(read_source(str(path), **settings))


def test_json_lines(tmp_path):
    file = tmp_path / "posts.jsonl"
    lines = ['{"id": "a", "text": "Jordan"}', "", "{", b"\xff", '{"text": "b", "image": "b.jpg"}']
    content = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    file.write_bytes(b"\xef\xbb\xbf" + content + b"\r\n")
    first, third, fourth, fifth = read(file)
    assert (first.id, first.words) == ("a", ("Jordan",))
    assert (third.place, fourth.place) == ("3", "4")
    assert third.reason.startswith("expected a JSON object, found '{'")
    assert fourth.reason.startswith("expected UTF-8 text, found the byte 0xff at byte 1")
    assert (third.kind, fourth.kind) == ("json", "encoding")
    assert (fifth.id, fifth.image) == ("5", tmp_path / "b.jpg")
    assert count_posts(str(file)) == 5


def test_pictures_in_another_folder(tmp_path):
    file = tmp_path / "posts.json"
    file.write_text('{"text": "b", "image": "b.jpg"}')
    (post,) = read(file, pictures=tmp_path / "pictures")
    assert post.image == tmp_path / "pictures" / "b.jpg"


def test_standard_input(tmp_path, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(b'{"text": "a", "image": "a.jpg"}\n{"text": "b"}'))
    monkeypatch.setattr(sys, "stdin", stream)
    monkeypatch.chdir(tmp_path)
    first, second = read("-")
    assert (first.id, first.image) == ("1", tmp_path / "a.jpg")
    assert (second.id, second.image) == ("2", None)
    assert not stream.closed
    assert count_posts("-") is None


def test_unknown_keys_cause_one_warning(tmp_path):
    file = tmp_path / "posts.ndjson"
    lines = [{"text": "a"}, {"text": "b", "img": "b.jpg"}, {"text": "c", "foto": ""}]
    file.write_text("\n".join(map(json.dumps, lines)))
    message = "line 2: unknown keys are kept, not read: 'img'$"
    with pytest.warns(UserWarning, match=message) as warnings:
        posts = read(file)
    assert [post.extra for post in posts] == [{}, {"img": "b.jpg"}, {"foto": ""}]
    assert len(warnings) == 1


def test_keys_of_results_cause_no_warning(tmp_path):
    file = tmp_path / "found.jsonl"
    file.write_text('{"text": "a", "gold_entities": [], "problems": ["image: gone"]}\n')
    (post,) = read(file)
    assert post.extra == {"gold_entities": [], "problems": ["image: gone"]}


def test_a_table(tmp_path):
    file = tmp_path / "posts.csv"
    file.write_text('\ufeffid,text,path,image,context\n7,"a, b",p.jpg,i.jpg,c\n,d,p.jpg,,\n')
    first, second = read(file)
    assert (first.id, first.text, first.context) == ("7", "a, b", "c")
    assert first.image == tmp_path / "i.jpg"
    assert (second.id, second.text, second.image) == ("3", "d", tmp_path / "p.jpg")
    assert count_posts(str(file)) == 2


def test_bad_rows_of_a_table(tmp_path):
    file = tmp_path / "posts.TSV"
    file.write_bytes(b'text\timage\na\t../a.jpg\n\xff\t\nb\tb.jpg\tmore\nc\n"d\te\nf\n')
    rows = read(file)
    assert [row.place for row in rows if isinstance(row, BadPost)] == ["2", "3", "4", "7"]
    assert rows[3].words == ("c",)
    assert "leads out of" in rows[0].reason
    assert rows[2].reason == "expected 2 fields, found more: quote what holds the delimiter"
    assert (rows[4].text, rows[4].image.name) == ('"d', "e")
    assert rows[5].reason.endswith("found 1 in the middle of an open quote")
    assert [row.kind for row in rows if isinstance(row, BadPost)] == [
        "picture",
        "encoding",
        "row",
        "row",
    ]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,body", "expected a column 'text' in the first row, found 'id', 'body'"),
        ("", "expected a column 'text' in the first row, found none"),
        ("text,image,image", "expected one column 'image' in the first row, found 2"),
        ('"a"b', "another delimiter than ',' is set by --delimiter"),
        ("t\xe9xt", "found the byte 0xe9 at byte 2: save the file as UTF-8"),
    ],
)
def test_tables_without_columns_are_rejected(tmp_path, header, message):
    file = tmp_path / "posts.csv"
    file.write_bytes(header.encode("latin-1") + b"\n1,x\n")
    with pytest.raises(SourceError, match=message):
        read(file)


def test_unknown_columns_cause_a_warning(tmp_path):
    file = tmp_path / "posts.csv"
    file.write_text("text,likes,lang\na,3,en\n")
    message = r"posts\.csv: unknown columns are kept, not read: 'lang', 'likes'$"
    with pytest.warns(UserWarning, match=message):
        (post,) = read(file)
    assert post.extra == {"likes": "3", "lang": "en"}


def test_a_path_beside_an_image_is_kept(tmp_path):
    file = tmp_path / "posts.csv"
    file.write_text("text,path,image\na,p.jpg,i.jpg\nb,p.jpg,\n")
    first, second = read(file)
    assert (first.image, first.extra) == (tmp_path / "i.jpg", {"path": "p.jpg"})
    assert (second.image, second.extra) == (tmp_path / "p.jpg", {})


def test_a_folder(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbffrom a folder\n")
    (tmp_path / "b.png").touch()
    (tmp_path / "b.jpg").touch()
    (tmp_path / "a.webp").touch()
    (tmp_path / "c.txt").write_bytes(b"\xff")
    (tmp_path / "d.txt").mkdir()
    (tmp_path / "e.md").touch()
    with pytest.warns(UserWarning, match=r"2 files left aside: 'b\.png', 'e\.md'$"):
        first, second, third, fourth = read(tmp_path)
    assert first == Post("a", text="", image=tmp_path / "a.webp")
    assert (second.id, second.text, second.image) == ("b", "from a folder", tmp_path / "b.jpg")
    assert (third.place, third.kind, third.id) == ("c.txt", "encoding", "c")
    assert "the byte 0xff at byte 1" in third.reason
    assert (fourth.place, fourth.reason[:22]) == ("d.txt", "expected a file, found")
    assert count_posts(str(tmp_path)) == 4


@pytest.mark.parametrize("name", ["none.jsonl", "posts.xml", "empty"])
def test_other_sources_are_rejected(tmp_path, name):
    (tmp_path / "posts.xml").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="expected"):
        read_source(str(tmp_path / name))


def test_a_table_with_several_pictures(tmp_path):
    file = tmp_path / "posts.tsv"
    lines = ["text\timage\timages", 'a\tc.jpg\t["a.jpg", "b.jpg"]', "b\t\t", "c\t\ta.jpg"]
    file.write_text("\n".join(lines))
    first, second, third = read(file)
    assert first.images == tuple(tmp_path / f"{name}.jpg" for name in "cab")
    assert second.images == ()
    assert third.reason == "expected 'images' to be a JSON list of paths, found 'a.jpg'"


def test_a_folder_of_a_camera(tmp_path):
    for name in ("IMG_1.JPG", "IMG_1.TXT", "c.bmp", "e.JPEG", "f.Tiff", "g.HEIC", "h.mp4"):
        (tmp_path / name).touch()
    with pytest.warns(UserWarning, match=r"1 files left aside: 'h\.mp4'$"):
        posts = read(tmp_path)
    names = [post.image.name for post in posts]
    assert names == ["IMG_1.JPG", "c.bmp", "e.JPEG", "f.Tiff", "g.HEIC"]


def test_links_are_followed_if_the_owner_says_so(tmp_path):
    """The cache of the hub holds a snapshot of links into a folder of blobs."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "1f").write_bytes(b"a picture")
    (blobs / "2a").write_text('{"text": "a", "image": "1.jpg"}\n{"text": "b", "image": "../x.jpg"}')
    (snapshot / "1.jpg").symlink_to("../../blobs/1f")
    (snapshot / "1.txt").symlink_to("../../blobs/2a")
    (snapshot / "train.jsonl").symlink_to("../../blobs/2a")
    bad, _ = read(snapshot / "train.jsonl")
    assert "a link that leads out of" in bad.reason
    assert "--follow_links" in bad.reason
    links = SourceOptions(follow_links=True)
    post, outside = read(snapshot / "train.jsonl", options=links)
    assert post.image.read_bytes() == b"a picture"
    assert type(post.image) is type(tmp_path)
    assert "leads out of" in outside.reason
    with pytest.warns(UserWarning, match="left aside"):
        (post,) = read(snapshot, options=links)
    assert (post.id, post.image) == ("1", snapshot / "1.jpg")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("name", ["posts.jsonl", "posts.csv"])
def test_encodings_of_spreadsheets(tmp_path, encoding, name):
    content = '{"id": "1", "text": "Zoë"}\n' if name.endswith("l") else "id;text\n1;Zoë\n"
    (tmp_path / name).write_text(content, encoding=encoding)
    (post,) = read(tmp_path / name)
    assert (post.id, post.text) == ("1", "Zoë")


def test_an_array_that_is_no_json_is_rejected(tmp_path):
    (tmp_path / "posts.json").write_text('[{"text": "a"},\n {"text": "b"')
    with pytest.raises(SourceError, match=r"posts\.json:2: expected a JSON array, found"):
        read(tmp_path / "posts.json")
