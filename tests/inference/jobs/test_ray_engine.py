"""The Ray engine gives what an Extractor gives, and a row for every post, whatever the post."""

import json
import os
import sys

import pytest
from helpers.command import read_jsonl, succeed, tiny_options
from helpers.ray_rows import read_local_rows, write_lines

from mmie.checkpoints import CheckpointError
from mmie.data.sources import SourceError
from mmie.grounding.cropper import Cropper
from mmie.grounding.detectors import build_detector
from mmie.inference import Extractor, load_extractor, load_pair
from mmie.inference.formats.text import from_json, to_json
from mmie.types import Post
from mmie.utils.devices import resolve_device
from mmie.utils.files import digest_values
from mmie.utils.plugins import import_modules, searched_folder

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from mmie.inference.jobs.job_files import JobError  # noqa: E402
from mmie.inference.jobs.ray_cluster import RayEngineError  # noqa: E402
from mmie.inference.jobs.ray_engine import (  # noqa: E402
    ExtractionActor,
    RayOptions,
    extract_rows,
    extract_with_ray,
    method_modules,
    read_windows,
)
from mmie.inference.jobs.ray_rows import (  # noqa: E402
    resolve_location,
    result_schema,
    row_schema,
)
from mmie.inference.jobs.ray_shards import FILE, PROGRESS, SUCCESS  # noqa: E402

pytestmark = pytest.mark.slow

COUNT = 40
FIRST = 7
"""Posts of the first of two files."""
WINDOW = 16
DETECTOR = "center"


@pytest.fixture(scope="module")
def checkpoints(demo_root, tmp_path_factory):
    """Checkpoints of methods that find something, one of them with pictures."""
    folder = tmp_path_factory.mktemp("trained")
    rates = ["--model.text_lr=0.003", "--model.head_lr=0.02", "--trainer.max_epochs=4"]
    for task, method in (("ner", "hvpnet"), ("re", "text_only")):
        succeed(
            "fit", *tiny_options(method, demo_root, folder / task), f"--data.task={task}", *rates
        )
    return {task: str(folder / task / "best.ckpt") for task in ("ner", "re")}


@pytest.fixture(scope="module")
def records(demo_root):
    """Posts as a user writes them, of which four are special."""
    lines = []
    for split in ("test", "valid", "train"):
        lines += read_jsonl(demo_root / f"{split}.jsonl")
    posts = [
        {"id": f"p{number:02}", "text": " ".join(line["words"]), "image": line["image"]}
        for number, line in enumerate(lines[:COUNT])
    ]
    del posts[3]["image"]
    posts[5]["words"] = posts[5].pop("text").split()
    posts[7]["context"] = "a caption"
    posts[8]["crops"] = [posts[9]["image"], posts[10]["image"]]
    return posts


@pytest.fixture(scope="module")
def expected(records, demo_root, checkpoints):
    """JSON records of what an Extractor finds in these posts, given in two files."""
    extractor = load_pair(
        checkpoints["ner"],
        checkpoints["re"],
        device="cpu",
        batch_size=8,
        window=WINDOW,
        cropper=Cropper(build_detector(DETECTOR, resolve_device("cpu"))),
    )
    lines = []
    for file in (records[:FIRST], records[FIRST:]):
        posts = [to_post(record, demo_root) for record in file]
        lines += [to_json(extraction) for extraction in extractor.stream(posts)]
    assert any(line["relations"] for line in lines)
    return lines


def to_post(record, folder):
    return Post(
        id=record["id"],
        text=record.get("text"),
        words=tuple(record.get("words", ())),
        image=folder / record["image"] if "image" in record else None,
        crops=tuple(folder / crop for crop in record.get("crops", ())),
        context=record.get("context"),
    )


@pytest.fixture(scope="module")
def cluster():
    """A small Ray cluster in this process."""
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


def found_in(row):
    """Return what was found in a post, without what its row or line keeps of the post."""
    return json.dumps({key: row[key] for key in ("id", "text", "entities", "relations")})


def test_ray_gives_what_an_extractor_gives(
    cluster, records, expected, demo_root, checkpoints, tmp_path
):
    """Two files by URL that windows do not divide, with a broken line and a post without id.

    The job is then given again, as if it had been interrupted behind its second file of results.
    """
    broken = [b'{"id": "cut off', {"text": "no id"}]
    write_lines(tmp_path / "posts" / "part_0.jsonl", records[:FIRST])
    write_lines(tmp_path / "posts" / "part_1.jsonl", [*records[FIRST:], *broken])
    source, out = (tmp_path / "posts").as_uri(), (tmp_path / "out").as_uri()
    options = RayOptions(batch_size=8, window=WINDOW, rows_per_file=10, detector=DETECTOR)
    job = (source, out, checkpoints, demo_root.as_uri(), options)
    assert extract_with_ray(*job) == (COUNT + 2, 1, 1, 0)
    files = sorted((tmp_path / "out").glob("*.parquet"))
    assert [pq.read_metadata(file).num_rows for file in files] == [7, 16, 16, 3]
    assert (tmp_path / "out" / SUCCESS).exists()
    assert all(pq.read_schema(file).equals(result_schema()) for file in files)
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert [found_in(row) for row in rows[:COUNT]] == list(map(found_in, expected))
    assert [row["id"] for row in rows[COUNT:]] == ["part_1.jsonl:34", "part_1.jsonl:35"]
    assert "JSON" in rows[COUNT]["problems"][0]
    assert all(from_json(row).id == row["id"] for row in rows)
    with pytest.raises(SourceError, match="holds files already"):
        extract_with_ray(*job)
    contents = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    interrupt(tmp_path / "out", num_shards=2)
    assert extract_with_ray(*job) == (COUNT + 2, 1, 1, 23)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == contents
    interrupt(tmp_path / "out", num_shards=2)
    with pytest.raises(JobError, match="begun with another ner"):
        extract_with_ray(source, out, {"re": checkpoints["re"]}, *job[3:])


def interrupt(folder, num_shards):
    """Leave what a job leaves that is killed behind some of its files of results."""
    (folder / SUCCESS).unlink()
    record = json.loads((folder / PROGRESS).read_text())
    for name, *_ in record["shards"][num_shards:]:
        (folder / name).unlink()
    record["shards"] = record["shards"][:num_shards]
    record["sha256"] = digest_values(
        {key: value for key, value in record.items() if key != "sha256"}
    )
    (folder / PROGRESS).write_text(json.dumps(record))
    (folder / "_part-00001-00001.parquet.partial").write_bytes(b"cut off")


def test_windows_are_of_one_file_and_begin_behind_skipped_rows(tmp_path):
    for name, count in (("a.jsonl", 3), ("b.jsonl", 0), ("c.jsonl", 5)):
        write_lines(tmp_path / name, [{"text": str(number)} for number in range(count)])
    paths = [str(tmp_path / f"{name}.jsonl") for name in "abc"]
    files = pa.table({"path": paths, FILE: [4, 5, 6], "skip": [2, 0, 0]})
    tables = list(read_windows(files, str(tmp_path), 2))
    assert [(table["name"].to_pylist(), table[FILE].to_pylist()) for table in tables] == [
        (["a.jsonl:3", None], [4, None]),
        (["c.jsonl:1", "c.jsonl:2"], [6, 6]),
        (["c.jsonl:3", "c.jsonl:4"], [6, 6]),
        (["c.jsonl:5", None], [6, None]),
        ([], []),
    ]


def test_errors_of_tasks_are_raised_in_one_line(cluster, checkpoints, tmp_path):
    (tmp_path / "posts.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(SourceError, match=r"posts\.parquet.*cannot be used") as caught:
        extract_with_ray(
            str(tmp_path / "posts.parquet"), str(tmp_path / "out"), {"ner": checkpoints["ner"]}
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / SUCCESS).exists()


def test_more_gpus_than_the_cluster_has_are_refused(cluster, checkpoints, records, tmp_path):
    write_lines(tmp_path / "posts.jsonl", records)
    ner = {"ner": checkpoints["ner"]}
    options = RayOptions(gpus_per_actor=500)
    with pytest.raises(
        RayEngineError, match=r"gpus_per_actor is 500: the Ray cluster has \d+ GPUs"
    ):
        extract_with_ray(str(tmp_path / "posts.jsonl"), str(tmp_path / "out"), ner, options=options)


def test_an_actor_gives_what_an_extractor_gives(
    records, expected, demo_root, checkpoints, tmp_path
):
    """Parquet with the bytes of the pictures and crops, without Ray."""
    pictures = []
    for record in records:
        read = dict(record)
        if "image" in record:
            read["image"] = (demo_root / record["image"]).read_bytes()
        if "crops" in record:
            read["crops"] = [(demo_root / crop).read_bytes() for crop in record["crops"]]
        pictures.append(read)
    keys = sorted({key for record in records for key in record})
    pq.write_table(
        pa.Table.from_pylist([dict.fromkeys(keys) | record for record in pictures]),
        tmp_path / "posts.parquet",
    )
    rows = read_local_rows(tmp_path / "posts.parquet")
    assert pa.Table.from_pylist(rows, schema=row_schema()).to_pylist() == rows
    options = {**checkpoints, "device": "cpu", "batch_size": 8, "window": WINDOW}
    actor = ExtractionActor(str(tmp_path), False, [], ".", DETECTOR, **options)
    results = []
    for start, end in ((0, 7), (7, 23), (23, 39), (39, 40)):
        window = [{**row, FILE: 0} for row in rows[start:end]]
        results += actor(pa.Table.from_pylist([*window, dict.fromkeys(window[0])])).to_pylist()
    assert all(row.pop("problems") == [] for row in results)
    assert list(map(found_in, results)) == list(map(found_in, expected))


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
    rows = read_local_rows(tmp_path / "posts.jsonl")
    results = extract_rows(extractor, rows, *resolve_location(str(tmp_path)))
    assert [(row["id"], row["text"]) for row in results] == [
        ("1", "fine"),
        ("3", ""),
        ("é", "naïve"),
    ]
    assert [len(row["problems"]) for row in results] == [0, 1, 0]
    assert results[1]["problems"][0].startswith("post: ")
    assert "\n" not in results[1]["problems"][0]
    assert pa.Table.from_pylist(results, schema=result_schema()).to_pylist() == results


class FragileExtractor(Extractor):
    """An extractor that fails at a word."""

    def extract(self, posts):
        posts = list(posts)
        if any("boom" in (post.text or "") for post in posts):
            raise RuntimeError("a fault\nin the model")
        return super().extract(posts)


def test_a_post_that_a_model_fails_at_costs_no_other_post(checkpoints, tmp_path):
    extractor = FragileExtractor(load_extractor(checkpoints["ner"], device="cpu").ner)
    texts = ["Jordan lands", "boom", "Paris"]
    write_lines(tmp_path / "posts.jsonl", [{"id": text, "text": text} for text in texts])
    rows = read_local_rows(tmp_path / "posts.jsonl")
    location = resolve_location(str(tmp_path))
    results = extract_rows(extractor, rows, *location)
    assert [row["id"] for row in results] == texts
    assert [row["problems"] for row in results] == [[], ["post: RuntimeError: a fault"], []]
    assert extract_rows(extractor, [], *location) == []
    # If every post fails, the model is at fault.
    with pytest.raises(RuntimeError, match="a fault"):
        extract_rows(extractor, [rows[1], rows[1]], *location)


def test_checkpoints_of_the_wrong_task_are_refused(checkpoints):
    ner, re = checkpoints["ner"], checkpoints["re"]
    for wrong in ({}, {"re": ner}, {"ner": re}, {"ner": re, "re": ner}):
        with pytest.raises(CheckpointError):
            load_extractor(**wrong, device="cpu")


def test_an_actor_imports_the_modules_of_the_methods(save_checkpoint, tmp_path):
    source = "from mmie.methods import TextOnly\n\nclass OwnMethod(TextOnly):\n    '''Own.'''\n"
    (tmp_path / "own_ray_method.py").write_text(source)
    with searched_folder(tmp_path):
        import_modules(["own_ray_method"])
    file = str(save_checkpoint(sys.modules["own_ray_method"].OwnMethod, "ner"))
    modules = method_modules(load_extractor(file, device="cpu"))
    assert modules == ["own_ray_method"]
    del sys.modules["own_ray_method"]
    actor = ExtractionActor(str(tmp_path), False, modules, str(tmp_path), ner=file, device="cpu")
    assert type(actor.extractor.ner.method).__module__ in sys.modules
