"""The Ray engine gives what an Extractor gives, and a row for every post, whatever the post."""

import json
import os

import numpy as np
import pytest
from helpers.command import read_jsonl, succeed, tiny

from mmie.checkpoints import CheckpointError
from mmie.inference import Extractor, load_extractor, load_pair
from mmie.inference.formats.text import from_json, to_json
from mmie.types import Post

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402
from pyarrow import fs  # noqa: E402

from mmie.data.sources import SourceError  # noqa: E402
from mmie.inference.jobs.ray_cluster import RayEngineError  # noqa: E402
from mmie.inference.jobs.ray_engine import DONE, answer_rows, extract_with_ray  # noqa: E402
from mmie.inference.jobs.ray_rows import (  # noqa: E402
    find_source,
    locate,
    read_rows,
    result_schema,
    row_schema,
    to_post,
)

COUNT = 40
WINDOW = 16


@pytest.fixture(scope="module")
def checkpoints(demo_root, tmp_path_factory):
    """Checkpoints of methods that answer something, one of them by the pictures."""
    folder = tmp_path_factory.mktemp("trained")
    rates = ["--model.text_lr=0.003", "--model.head_lr=0.02", "--trainer.max_epochs=4"]
    for task, method in (("ner", "hvpnet"), ("re", "text_only")):
        succeed("fit", *tiny(method, demo_root, folder / task), f"--data.task={task}", *rates)
    return {task: str(folder / task / "best.ckpt") for task in ("ner", "re")}


@pytest.fixture(scope="module")
def records(demo_root):
    """Posts as a user writes them, with crops; one has no picture, one words in place of a text, one a context."""
    lines = [
        line
        for split in ("test", "valid", "train")
        for line in read_jsonl(demo_root / f"{split}.jsonl")
    ][:COUNT]
    posts = [
        {"id": f"p{n:02}", "text": " ".join(line["words"]), "image": line["image"]}
        for n, line in enumerate(lines)
    ]
    del posts[3]["image"]
    posts[5]["words"] = posts[5].pop("text").split()
    posts[7]["context"] = "a caption"
    return posts


@pytest.fixture(scope="module")
def expected(records, demo_root, checkpoints):
    """What an Extractor finds in them, as lines of JSON."""
    extractor = load_pair(
        checkpoints["ner"], checkpoints["re"], device="cpu", batch_size=8, window=WINDOW
    )
    lines = [
        to_json(found)
        for found in extractor.stream(as_post(record, demo_root) for record in records)
    ]
    assert any(line["relations"] for line in lines)
    return lines


def as_post(record, folder):
    image = folder / record["image"] if "image" in record else None
    words, text = tuple(record.get("words", ())), record.get("text")
    crops = tuple(folder / crop for crop in record.get("crops", ()))
    return Post(
        id=record["id"],
        text=text,
        words=words,
        image=image,
        crops=crops,
        context=record.get("context"),
    )


def write_lines(file, records):
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in records)
    file.write_bytes(b"\n".join(lines) + b"\n")


def rows_of(file):
    """Rows of a local file of posts."""
    return list(read_rows(fs.LocalFileSystem(), str(file)))


@pytest.fixture(scope="module")
def cluster():
    """A small Ray cluster in this session."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    options = {
        "include_dashboard": False,
        "log_to_driver": False,
        "object_store_memory": 100_000_000,
    }
    ray.init("local", num_cpus=2, **options)
    yield ray
    ray.shutdown()


def test_ray_gives_what_an_extractor_gives(
    cluster, records, expected, demo_root, checkpoints, tmp_path
):
    """Two files of JSON lines, named by URL, that windows do not fit; at their end a broken line and no id."""
    broken = [b'{"id": "cut off', {"text": "no id"}]
    write_lines(tmp_path / "posts" / "part_0.jsonl", records[:7])
    write_lines(tmp_path / "posts" / "part_1.jsonl", [*records[7:], *broken])
    options = {"batch_size": 8, "window": WINDOW, "rows_per_file": 20, "images": demo_root.as_uri()}
    out = (tmp_path / "out").as_uri()
    outcome = extract_with_ray((tmp_path / "posts").as_uri(), out, checkpoints, **options)
    assert outcome == (COUNT + 2, 1)
    files = sorted((tmp_path / "out").glob("*.parquet"))
    assert len(files) > 1
    assert (tmp_path / "out" / DONE).exists()
    assert all(pq.read_schema(file).equals(result_schema()) for file in files)
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    found = [
        json.dumps({key: value for key, value in row.items() if key != "problems" or value})
        for row in rows
    ]
    keys = list(json.loads(found[0]))
    assert found[:COUNT] == [json.dumps({key: line[key] for key in keys}) for line in expected]
    assert [row["id"] for row in rows[COUNT:]] == ["part_1.jsonl:34", "part_1.jsonl:35"]
    assert "JSON" in rows[COUNT]["problems"][0]
    assert all(from_json(row).id == row["id"] for row in rows)
    with pytest.raises(SourceError, match="holds files already"):
        extract_with_ray((tmp_path / "posts").as_uri(), out, checkpoints, **options)


def test_what_a_task_of_ray_raises_is_told_in_one_line(cluster, checkpoints, tmp_path):
    (tmp_path / "posts.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(SourceError, match=r"posts\.parquet.*cannot be used") as caught:
        extract_with_ray(
            str(tmp_path / "posts.parquet"), str(tmp_path / "out"), {"ner": checkpoints["ner"]}
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / DONE).exists()


def test_more_gpus_than_there_are_are_refused(cluster, checkpoints, records, tmp_path):
    write_lines(tmp_path / "posts.jsonl", records)
    ner = {"ner": checkpoints["ner"]}
    with pytest.raises(
        RayEngineError, match=r"gpus_per_actor is 500: the Ray cluster has \d+ GPUs"
    ):
        extract_with_ray(
            str(tmp_path / "posts.jsonl"), str(tmp_path / "out"), ner, gpus_per_actor=500
        )


def test_rows_are_answered_as_an_extractor_answers(
    records, expected, demo_root, checkpoints, tmp_path
):
    """Parquet with the pictures' bytes, without Ray."""
    pictures = [
        {**r, "image": (demo_root / r["image"]).read_bytes()} if "image" in r else r
        for r in records
    ]
    keys = sorted({key for record in records for key in record})
    pq.write_table(
        pa.Table.from_pylist([dict.fromkeys(keys) | r for r in pictures]),
        tmp_path / "posts.parquet",
    )
    extractor = load_extractor(**checkpoints, device="cpu", batch_size=8, window=WINDOW)
    rows = rows_of(tmp_path / "posts.parquet")
    assert pa.Table.from_pylist(rows, schema=row_schema()).to_pylist() == rows
    parts = [
        answer_rows(extractor, rows[n : n + WINDOW], *locate(str(demo_root)))
        for n in range(0, COUNT, WINDOW)
    ]
    assert [without_problems(row) for part in parts for row in part] == expected


def without_problems(row):
    assert row["problems"] == []
    return {key: value for key, value in row.items() if key != "problems"}


@pytest.mark.parametrize(
    "line",
    [
        b"no",
        b"[1]",
        b"\xff{",
        b"[" * 100_000,
        b"{}",
        b'{"text": 3}',
        b'{"text": "\\ud800"}',
        b'{"text": "a", "image": 1}',
    ],
)
def test_a_wrong_post_is_a_row_with_a_problem(line, checkpoints, tmp_path):
    right = [{"id": 1, "text": "fine"}, {"id": "é", "text": "naïve"}]
    write_lines(tmp_path / "posts.jsonl", [right[0], b"", line, right[1]])
    extractor = load_extractor(checkpoints["ner"], device="cpu")
    rows = answer_rows(extractor, rows_of(tmp_path / "posts.jsonl"), *locate(str(tmp_path)))
    assert [(row["id"], row["text"]) for row in rows] == [("1", "fine"), ("3", ""), ("é", "naïve")]
    assert [len(row["problems"]) for row in rows] == [0, 1, 0]
    assert rows[1]["problems"][0].startswith("post: ")
    assert "\n" not in rows[1]["problems"][0]
    assert pa.Table.from_pylist(rows, schema=result_schema()).to_pylist() == rows


def row(**record):
    return {"name": "1", "line": json.dumps({"text": "a", **record}).encode(), "picture": None}


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "a/../../secret.jpg", "/etc/secret.jpg", "a\0b", "link.jpg"]
)
@pytest.mark.parametrize("key", ["image", "crops"])
def test_no_picture_outside_its_folder_is_opened(name, key, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "pictures" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    post = to_post(
        row(**{key: name if key == "image" else [name]}),
        fs.LocalFileSystem(),
        str(tmp_path / "pictures"),
    )
    assert isinstance(post, str)


def test_pictures_elsewhere_are_fetched(tmp_path):
    """A file system that is not this machine's, as far as pyarrow says."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "1.jpg").write_bytes(b"bytes")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    elsewhere = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    assert elsewhere.type_name != "local"
    post = to_post(row(image="1.jpg", crops=["1.jpg", "2.jpg"]), elsewhere, "bucket")
    assert (post.image, post.crops[0]) == (b"bytes", b"bytes")
    assert not post.crops[1].exists()
    assert isinstance(to_post(row(image="../secret.jpg"), elsewhere, "bucket"), str)
    assert isinstance(
        to_post(row(image="s3://bucket/../secret.jpg"), elsewhere, "bucket").image, os.PathLike
    )


class Fragile(Extractor):
    """An extractor that cannot bear a word."""

    def extract(self, posts):
        posts = list(posts)
        if any("boom" in (post.text or "") for post in posts):
            raise RuntimeError("a fault\nin the model")
        return super().extract(posts)


def test_one_post_that_a_model_fails_at_costs_no_other(checkpoints, tmp_path):
    extractor = Fragile(load_extractor(checkpoints["ner"], device="cpu").ner)
    texts = ["Jordan lands", "boom", "Paris"]
    write_lines(tmp_path / "posts.jsonl", [{"id": text, "text": text} for text in texts])
    rows = rows_of(tmp_path / "posts.jsonl")
    answered = answer_rows(extractor, rows, *locate(str(tmp_path)))
    assert [row["id"] for row in answered] == texts
    assert [row["problems"] for row in answered] == [[], ["post: RuntimeError: a fault"], []]
    with pytest.raises(RuntimeError, match="a fault"):  # if every post fails, it is not the posts
        answer_rows(extractor, [rows[1], rows[1]], *locate(str(tmp_path)))
    assert answer_rows(extractor, [], *locate(str(tmp_path))) == []


def test_pictures_as_data_sets_hold_them(tmp_path):
    image = [{"bytes": b"x", "path": "a.jpg"}, {"bytes": None, "path": "a.jpg"}, None]
    pq.write_table(
        pa.table({"text": ["a", "b", "c"], "image": image, "more": [1, 2, 3]}),
        tmp_path / "p.parquet",
    )
    rows = rows_of(tmp_path / "p.parquet")
    assert [(row["picture"], json.loads(row["line"]).get("image")) for row in rows] == [
        (b"x", None),
        (None, "a.jpg"),
        (None, None),
    ]
    assert [to_post(row, *locate(str(tmp_path))).id for row in rows] == ["1", "2", "3"]


def test_a_parquet_file_of_other_columns_or_types_is_refused(tmp_path):
    pq.write_table(pa.table({"tweet": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(SourceError, match="neither a column 'text' nor a column 'words'"):
        rows_of(tmp_path / "other.parquet")
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((2, 3), np.float32))
    pq.write_table(pa.table({"text": ["a", "b"], "image": tensors}), tmp_path / "tensor.parquet")
    with pytest.raises(SourceError, match="extension type"):
        rows_of(tmp_path / "tensor.parquet")


def test_files_of_a_folder_are_read_in_order(tmp_path):
    for name in ("b.jsonl", "a/z.jsonl", "c.txt"):
        write_lines(tmp_path / "posts" / name, [{"text": "a"}])
    found = find_source(str(tmp_path / "posts"))
    assert [os.path.relpath(file, tmp_path / "posts") for file in found.files] == [
        "a/z.jsonl",
        "b.jsonl",
    ]
    assert found.folder == str(tmp_path / "posts")
    one = find_source((tmp_path / "posts" / "b.jsonl").as_uri())
    assert one == ((str(tmp_path / "posts" / "b.jsonl"),), (tmp_path / "posts").as_uri())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("absent", "does not exist"),
        ("empty", "holds no"),
        ("both", "both"),
        ("nowhere://x", "cannot be used"),
    ],
)
def test_a_source_that_cannot_be_read_is_told(place, message, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("a.jsonl", "b.parquet"):
        write_lines(tmp_path / "both" / name, [])
    with pytest.raises(SourceError, match=message) as caught:
        find_source(place if "://" in place else str(tmp_path / place))
    assert "\n" not in str(caught.value)


def test_checkpoints_of_the_wrong_task_are_refused(checkpoints):
    ner, re = checkpoints["ner"], checkpoints["re"]
    for wrong in ({}, {"re": ner}, {"ner": re}, {"ner": re, "re": ner}):
        with pytest.raises(CheckpointError):
            load_extractor(**wrong, device="cpu")
