"""Files of posts become rows, rows become posts, and no picture outside its folder is opened."""

import json
import os

import numpy as np
import pytest
from helpers.extractions import make_extraction
from helpers.ray_rows import read_local_rows, write_lines

from mmie.data.sources import SourceError
from mmie.types import Entity, Post

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402
from pyarrow import fs  # noqa: E402

from mmie.inference.jobs.ray_rows import (  # noqa: E402
    _parent,
    extraction_to_row,
    list_source,
    resolve_location,
    result_schema,
    row_to_post,
)

NO_BYTES = {"pictures": None, "crops": None}


def make_row(**record):
    """A row of a post with a text."""
    return {"name": "1", "line": json.dumps({"text": "a", **record}).encode(), **NO_BYTES}


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "a/../../secret.jpg", "/etc/secret.jpg", "a\0b", "link.jpg"]
)
@pytest.mark.parametrize("key", ["image", "crops"])
def test_no_picture_outside_its_folder_is_opened(name, key, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "pictures" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    row = make_row(**{key: name if key == "image" else [name]})
    post = row_to_post(row, fs.LocalFileSystem(), str(tmp_path / "pictures"))
    assert isinstance(post, str)


def test_pictures_on_other_file_systems_are_fetched(tmp_path):
    """The file system is one that pyarrow does not call local."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "1.jpg").write_bytes(b"bytes")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    assert remote.type_name != "local"
    post = row_to_post(make_row(image="1.jpg", crops=["1.jpg", "2.jpg"]), remote, "bucket")
    assert (post.image, post.crops[0]) == (b"bytes", b"bytes")
    assert not post.crops[1].exists()
    assert isinstance(row_to_post(make_row(image="../secret.jpg"), remote, "bucket"), str)
    url = row_to_post(make_row(image="s3://bucket/../secret.jpg"), remote, "bucket")
    assert isinstance(url.image, os.PathLike)


def test_pictures_of_hugging_face_data_sets_are_read(tmp_path):
    image = [{"bytes": b"x", "path": "a.jpg"}, {"bytes": None, "path": "a.jpg"}, None]
    pq.write_table(
        pa.table({"text": ["a", "b", "c"], "image": image, "more": [1, 2, 3]}),
        tmp_path / "p.parquet",
    )
    rows = read_local_rows(tmp_path / "p.parquet")
    assert [(row["pictures"], json.loads(row["line"]).get("image")) for row in rows] == [
        ([b"x"], None),
        (None, "a.jpg"),
        (None, None),
    ]
    filesystem, folder = resolve_location(str(tmp_path))
    assert [row_to_post(row, filesystem, folder).id for row in rows] == ["1", "2", "3"]


def test_json_lines_are_numbered_rows_without_blank_lines(tmp_path):
    write_lines(tmp_path / "posts.jsonl", [b'\xef\xbb\xbf{"text": "a"}', b" ", b'{"text": "b"}\r'])
    assert read_local_rows(tmp_path / "posts.jsonl") == [
        {"name": "1", "line": b'{"text": "a"}', **NO_BYTES},
        {"name": "3", "line": b'{"text": "b"}', **NO_BYTES},
    ]


def test_a_parquet_file_of_other_columns_or_types_is_refused(tmp_path):
    pq.write_table(pa.table({"tweet": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(SourceError, match="neither a column 'text' nor a column 'words'"):
        read_local_rows(tmp_path / "other.parquet")
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((2, 3), np.float32))
    pq.write_table(pa.table({"text": ["a", "b"], "image": tensors}), tmp_path / "tensor.parquet")
    with pytest.raises(SourceError, match="extension type"):
        read_local_rows(tmp_path / "tensor.parquet")


def test_files_of_a_folder_are_sorted(tmp_path):
    for name in ("b.jsonl", "a/z.jsonl", "c.txt"):
        write_lines(tmp_path / "posts" / name, [{"text": "a"}])
    source = list_source(str(tmp_path / "posts"))
    names = [os.path.relpath(file, tmp_path / "posts") for file in source.files]
    assert names == ["a/z.jsonl", "b.jsonl"]
    assert source.folder == str(tmp_path / "posts")
    single = list_source((tmp_path / "posts" / "b.jsonl").as_uri())
    assert single[:2] == ((str(tmp_path / "posts" / "b.jsonl"),), (tmp_path / "posts").as_uri())
    status = (tmp_path / "posts" / "b.jsonl").stat()
    assert single.states == ((single.files[0], status.st_size, status.st_mtime_ns),)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("absent", "does not exist"),
        ("empty", "holds no"),
        ("table.csv", r"\.csv and \.tsv are read without Ray"),
        ("both", "both"),
        ("nowhere://x", "cannot be used"),
    ],
)
def test_an_unreadable_source_is_refused_in_one_line(location, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.csv").write_text("text\n")
    for name in ("a.jsonl", "b.parquet"):
        write_lines(tmp_path / "both" / name, [])
    with pytest.raises(SourceError, match=message) as caught:
        list_source(location if "://" in location else str(tmp_path / location))
    assert "\n" not in str(caught.value)


def test_extractions_are_rows_of_the_schema_of_results():
    found = make_extraction(
        "a", [("Ann", "PER", 0.9), ("Rome", "LOC", 0.8)], [(0, "lives in", 1, 0.6)]
    )
    failed = make_extraction("b", [], problems=["post: broken"])
    rows = [extraction_to_row(found), extraction_to_row(failed)]
    assert [row["problems"] for row in rows] == [[], ["post: broken"]]
    assert pa.Table.from_pylist(rows, schema=result_schema()).to_pylist() == rows


def test_rows_keep_what_results_do_not_replace():
    found = make_extraction("a", [("Ann", "PER", 0.9), ("Rome", "LOC", 0.8)])
    post = Post(
        "a",
        words=("Ann", "Rome"),
        image=b"bytes",
        context="c",
        entities=(Entity(1, 2, "LOC"),),
        extra={"url": "u", "problems": 1},
    )
    line = json.dumps({"id": "a", "image": "images/a.jpg", "crops": ["crops/a.jpg"]}).encode()
    row = extraction_to_row(found, line, post)
    assert (row["image"], row["crops"], row["context"]) == ("images/a.jpg", ["crops/a.jpg"], "c")
    assert row["gold_entities"] == [{"text": "Rome", "type": "LOC", "start": 4, "end": 8}]
    assert json.loads(row["extra"]) == {"url": "u", "input_problems": 1}
    assert pa.Table.from_pylist([row], schema=result_schema()).to_pylist() == [row]


def test_several_pictures_are_all_paths_or_all_bytes(tmp_path):
    image = [b"x", None, b"x", None]
    images = [[{"bytes": b"y", "path": None}], [{"bytes": b"y", "path": "a.jpg"}], [], None]
    rows = {"text": ["a"] * 4, "image": image, "images": images}
    pq.write_table(pa.table(rows), tmp_path / "p.parquet")
    located = resolve_location(str(tmp_path))
    read = [row_to_post(row, *located) for row in read_local_rows(tmp_path / "p.parquet")]
    assert [post.images for post in read] == [(b"x", b"y"), (b"y",), (b"x",), ()]
    record = {"text": ["a", "b"], "image": [b"x", None], "images": [["a.jpg"], ["a.jpg", "b.jpg"]]}
    pq.write_table(pa.table(record), tmp_path / "q.parquet")
    mixed, paths = (row_to_post(row, *located) for row in read_local_rows(tmp_path / "q.parquet"))
    assert "'images' to be a list of paths" in mixed
    assert paths.images == (tmp_path / "a.jpg", tmp_path / "b.jpg")


def test_several_pictures_on_other_file_systems_are_fetched(tmp_path):
    (tmp_path / "bucket").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "bucket" / name).write_bytes(name.encode())
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    row = make_row(images=["a.jpg", "b.jpg"])
    assert row_to_post(row, remote, "bucket").images == (b"a.jpg", b"b.jpg")


def test_crops_are_all_paths_or_all_bytes(tmp_path):
    crops = [[b"x", b"y"], [], None]
    hugging_face = [[{"bytes": b"x", "path": None}], [{"bytes": None, "path": "a.jpg"}], None]
    mixed = [[{"bytes": b"x", "path": None}, {"bytes": None, "path": "a.jpg"}]]
    located = resolve_location(str(tmp_path))
    read = []
    for values in (crops, hugging_face, mixed):
        pq.write_table(pa.table({"text": ["a"] * len(values), "crops": values}), tmp_path / "p")
        (tmp_path / "p").rename(tmp_path / "p.parquet")
        read += [row_to_post(row, *located) for row in read_local_rows(tmp_path / "p.parquet")]
    *posts, malformed = read
    assert [post.crops for post in posts] == [
        (b"x", b"y"),
        (),
        (),
        (b"x",),
        (tmp_path / "a.jpg",),
        (),
    ]
    assert "'crops' to be a list of paths" in malformed


def test_crops_on_other_file_systems_are_fetched_beside_pictures_that_are_bytes(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "1.jpg").write_bytes(b"bytes")
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    row = {**make_row(crops=["1.jpg"]), "pictures": [b"picture"]}
    post = row_to_post(row, remote, "bucket")
    assert (post.image, post.crops) == (b"picture", (b"bytes",))


def test_the_folder_of_a_file_by_url_keeps_the_query():
    query = "?access_key=a"
    assert _parent(f"s3://bucket/posts/b.jsonl{query}") == f"s3://bucket/posts{query}"
    assert _parent("posts/b?.jsonl") == "posts"
