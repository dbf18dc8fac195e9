"""Shards of a Ray job hold all rows in order, once, and an interrupted job goes on behind them."""

import json
import os
from contextlib import suppress

import pytest

from mmie.data.sources import SourceError
from mmie.inference.jobs.job_files import JobError

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402
from pyarrow import fs  # noqa: E402

from mmie.inference.jobs.ray_shards import FILE, PROGRESS, SUCCESS, ShardFolder  # noqa: E402

SOURCES = (("a.jsonl", 10, 1), ("b.jsonl", 0, 1), ("c.jsonl", 7, 1))
ROWS = [(0, number) for number in range(10)] + [(2, number) for number in range(7)]
"""Number of the file of posts and number in it of each row; the second file has none."""


@pytest.fixture(params=["local", "subtree"])
def make_folder(request, tmp_path):
    """Function that opens the same folder on the local file system, or on one that is not."""
    local = fs.LocalFileSystem()
    remote = fs.SubTreeFileSystem(str(tmp_path), local)
    place = (local, str(tmp_path / "out")) if request.param == "local" else (remote, "out")

    def make(identity=("ner", "x"), sources=SOURCES):
        return ShardFolder(*place, dict([identity]), sources, rows=4)

    return make


def tables(rows, size):
    """Tables of some rows each, an empty one without columns in between."""
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield pa.table(
            {"id": [f"{file}_{number}" for file, number in part], FILE: [file for file, _ in part]}
        )
        yield pa.table({})


def read(folder):
    """Read the ids of all shards in the order of their names."""
    return [pq.read_table(file)["id"].to_pylist() for file in sorted(folder.glob("*.parquet"))]


EXPECTED = [
    [f"0_{number}" for number in range(4)],
    [f"0_{number}" for number in range(4, 8)],
    ["0_8", "0_9"],
    [f"2_{number}" for number in range(4)],
    [f"2_{number}" for number in range(4, 7)],
]


@pytest.mark.parametrize("size", [1, 3, 4, 17])
def test_shards_do_not_depend_on_how_rows_arrive(size, make_folder, tmp_path):
    folder = make_folder()
    folder.begin()
    assert sum(folder.write(tables(ROWS, size))) == len(ROWS)
    assert read(tmp_path / "out") == EXPECTED
    names = {file.name for file in (tmp_path / "out").iterdir() if file.suffix != ".parquet"}
    assert names == {PROGRESS, SUCCESS}
    with pytest.raises(SourceError, match="holds files already"):
        make_folder().begin()


@pytest.mark.parametrize("num_tables", range(len(ROWS) + 1))
def test_a_job_that_stops_at_any_row_goes_on_to_the_same_files(num_tables, make_folder, tmp_path):
    def stopping():
        for number, table in enumerate(tables(ROWS, 1)):
            if number == 2 * num_tables:
                raise KeyboardInterrupt
            yield table

    folder = make_folder()
    folder.begin()
    with suppress(KeyboardInterrupt):
        list(folder.write(stopping()))
    kept = {file: os.stat(file).st_ino for file in (tmp_path / "out").glob("*.parquet")}
    if num_tables < len(ROWS):
        again = make_folder()
        again.begin()
        assert len(again.shards) == len(kept)
        file, row = again.position
        rest = [(own, number) for own, number in ROWS if (own, number) >= (file, row)]
        list(again.write(tables(rest, 2)))
    assert read(tmp_path / "out") == EXPECTED
    assert all(os.stat(file).st_ino == inode for file, inode in kept.items())


@pytest.fixture
def interrupted(make_folder, tmp_path):
    """Folder of a job that wrote two shards."""
    folder = make_folder()
    folder.begin()
    rows = folder.write(tables(ROWS, 4))
    for _ in range(2):
        next(rows)
    assert len(folder.shards) == 2
    return tmp_path / "out"


def test_other_settings_or_posts_are_refused(interrupted, make_folder):
    make_folder().begin()
    with pytest.raises(JobError, match="begun with another ner"):
        make_folder(identity=("ner", "y")).begin()
    with pytest.raises(JobError, match="begun with another re, ner"):
        make_folder(identity=("re", "y")).begin()
    for sources in (SOURCES[:1], (*SOURCES[:2], ("c.jsonl", 7, 2))):
        with pytest.raises(JobError, match="the files of posts have changed"):
            make_folder(sources=sources).begin()


@pytest.mark.parametrize("name", ["part-00000-00001.parquet", PROGRESS])
def test_damage_is_noticed(name, interrupted, make_folder):
    content = bytearray((interrupted / name).read_bytes())
    content[20] ^= 1
    (interrupted / name).write_bytes(content)
    with pytest.raises(JobError, match=r"damaged|is not the progress"):
        make_folder().begin()


def test_a_missing_shard_is_noticed(interrupted, make_folder):
    (interrupted / "part-00000-00001.parquet").unlink()
    with pytest.raises(JobError, match=r"part-00000-00001\.parquet' cannot be read"):
        make_folder().begin()


def test_a_record_of_another_form_is_refused(interrupted, make_folder):
    for record in ([], {}, {"sha256": "", "shards": [[1]], "identity": {}, "sources": []}):
        (interrupted / PROGRESS).write_text(json.dumps(record))
        with pytest.raises(JobError, match="is not the progress of a job"):
            make_folder().begin()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    folder = ShardFolder(fs.LocalFileSystem(), str(tmp_path / "file" / "out"), {}, [], rows=4)
    with pytest.raises((JobError, SourceError), match="cannot be written"):
        folder.begin()
