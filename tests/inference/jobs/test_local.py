"""A job over a source: resumable, atomic, and every post is in one file or the other."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from helpers.command import read_jsonl, run, succeed

from mmie.data.sources import BadPost, SourceError, count_posts, read_source
from mmie.inference import Extractor
from mmie.inference.formats.text import to_json
from mmie.inference.jobs.local import JobError, extract_to_file
from mmie.types import Post


def write_lines(path, lines):
    path.write_text(
        "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    )
    return path


@pytest.fixture(scope="module")
def records(demo_root):
    lines = [
        line
        for split in ("test", "valid", "train")
        for line in read_jsonl(demo_root / f"{split}.jsonl")
    ]
    return [
        {"id": f"p{n}", "text": " ".join(line["words"]), "image": line["image"]}
        for n, line in enumerate(lines)
    ]


@pytest.fixture
def source(demo_root, records):
    return write_lines(demo_root / "own.jsonl", records)


@pytest.fixture(scope="module")
def extractor(random_pair):
    return Extractor.from_checkpoint(random_pair["ner"], device="cpu", window=8)


class Killed(Exception):
    """Stands for the end of a process."""


class Mortal:
    """An extractor that dies after some posts, and notes which it was given."""

    def __init__(self, extractor, life):
        self.extractor, self.window, self.life, self.seen = extractor, extractor.window, life, []

    def stream(self, posts):
        def noted():
            for post in posts:
                self.seen.append(post.id)
                yield post

        for number, found in enumerate(self.extractor.stream(noted())):
            if number == self.life:
                raise Killed
            yield found


def test_a_job_that_died_goes_on_and_ends_the_same(extractor, source, tmp_path):
    whole, parted = tmp_path / "whole.jsonl", tmp_path / "parted.jsonl"
    outcome = extract_to_file(extractor, str(source), whole)
    assert outcome.totals.read == outcome.totals.bad + len(read_jsonl(whole))
    for life in (3, 11, 17):
        with pytest.raises(Killed):
            extract_to_file(Mortal(extractor, life), str(source), parted)
        assert not parted.exists()
    last = Mortal(extractor, 10**6)
    resumed = extract_to_file(last, str(source), parted)
    assert resumed.resumed == 8 + 16
    assert last.seen[0] == "p24"
    assert parted.read_bytes() == whole.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"whole.jsonl", "parted.jsonl"}
    assert (resumed.totals.entities, resumed.totals.read) == (
        outcome.totals.entities,
        outcome.totals.read,
    )


def test_bad_posts_are_named_and_passed_over(extractor, source, records, tmp_path):
    bad = [
        '{"id": 1, "text": "a',
        '{"text": 5}\n',
        '{"text": "x", "image": "../../etc/passwd"}\n',
        "[]\n",
    ]
    lines = [*records[:9], *bad, *records[9:30], '{"text": "no id"}\n', '{"text": ""}\n', "\n"]
    lines[9] += "\n"
    mixed = write_lines(source.with_name("mixed.jsonl"), lines)
    out = tmp_path / "out.jsonl"
    outcome = extract_to_file(extractor, str(mixed), out)
    errors = read_jsonl(outcome.errors)
    assert [error["place"] for error in errors] == ["10", "11", "12", "13"]
    assert all(error["reason"].startswith("expected") for error in errors)
    found = read_jsonl(out)
    assert [line["id"] for line in found] == [f"p{n}" for n in range(30)] + ["35", "36"]
    assert found[-1]["problems"] == ["text: no words"]
    assert outcome.totals.read == len(found) + len(errors)
    parted = tmp_path / "parted.jsonl"
    with pytest.raises(Killed):
        extract_to_file(Mortal(extractor, 18), str(mixed), parted)
    extract_to_file(extractor, str(mixed), parted)
    assert parted.read_bytes() == out.read_bytes()
    assert parted.with_name("parted.errors.jsonl").read_bytes() == outcome.errors.read_bytes()


def test_what_is_there_is_not_replaced_unasked(extractor, source, records, tmp_path):
    out = tmp_path / "out.jsonl"
    extract_to_file(extractor, str(source), out)
    with pytest.raises(JobError, match="is there already: name another file, or add --overwrite"):
        extract_to_file(extractor, str(source), out)
    extract_to_file(extractor, str(source), out, overwrite=True)
    other = tmp_path / "other.jsonl"
    with pytest.raises(Killed):
        extract_to_file(Mortal(extractor, 9), str(source), other, settings={"batch_size": 4})
    with pytest.raises(JobError, match="begun with another batch_size"):
        extract_to_file(extractor, str(source), other, settings={"batch_size": 5})
    write_lines(source, records[:3])
    with pytest.raises(JobError, match="begun with another source"):
        extract_to_file(extractor, str(source), other, settings={"batch_size": 4})


def test_posts_are_never_written_over(random_pair, extractor, source, tmp_path):
    before = source.read_bytes()
    with pytest.raises(JobError, match="holds the posts, and would be written over"):
        extract_to_file(extractor, str(source), source, overwrite=True)
    table = tmp_path / "posts.csv"
    table.write_text("text\nJordan lands\n")
    arguments = [
        "extract",
        str(table),
        f"--ner={random_pair['ner']}",
        "--overwrite",
        "-o",
        str(tmp_path / "new.jsonl"),
    ]
    assert "posts.csv holds the posts" in run(*arguments, str(table)).err
    assert (source.read_bytes(), table.read_text()) == (before, "text\nJordan lands\n")
    (tmp_path / "mine.html").write_text("mine")
    assert (
        "mine.html is there already" in run(*arguments[:-3], "-o", str(tmp_path / "mine.html")).err
    )
    assert {path.name for path in tmp_path.iterdir()} == {"posts.csv", "mine.html"}


def test_what_the_ray_engine_does_not_do_is_refused(random_pair, source, tmp_path):
    arguments = [
        "extract",
        str(source),
        f"--ner={random_pair['ner']}",
        "--engine=ray",
        "-o",
        str(tmp_path / "a"),
    ]
    assert "cuts no crops: run mmie ground before" in run(*arguments, "--detector=center").err
    assert "name a folder, not" in run(*arguments[:-1], str(tmp_path / "a.jsonl")).err
    assert (
        "takes no --precision, --workers"
        in run(*arguments, "--workers=2", "--precision=bfloat16").err
    )
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_read_is_told_once(tmp_path):
    lines = write_lines(
        tmp_path / "posts.ndjson",
        [{"text": "Jordan", "img": "a.jpg"}, {"text": "lands", "foto": ""}],
    )
    with pytest.warns(UserWarning, match="line 1: unknown keys ignored: 'img'") as told:
        assert len(list(read_source(str(lines)))) == len(told) + 1 == 2
    table = tmp_path / "POSTS.TSV"
    table.write_text("text\tpath\tlikes\nJordan\ta.jpg\t3\n")
    with pytest.warns(UserWarning, match=r"POSTS\.TSV: columns ignored: 'likes'$"):
        (post,) = read_source(str(table))
    assert post.image == tmp_path / "a.jpg"


def test_a_path_from_the_root_may_lie_in_the_pictures_folder(tmp_path):
    lines = [
        {"text": "in", "image": str(tmp_path / "a.jpg")},
        {"text": "out", "image": str(tmp_path.parent / "a.jpg")},
    ]
    inside, outside = read_source(str(write_lines(tmp_path / "posts.jsonl", lines)))
    assert inside.image == tmp_path / "a.jpg"
    assert isinstance(outside, BadPost)


def test_damaged_progress_is_named(extractor, source, tmp_path):
    out = tmp_path / "out.jsonl"
    out.with_name("out.jsonl.progress").write_text("{")
    with pytest.raises(JobError, match="is no progress of a job"):
        extract_to_file(extractor, str(source), out)


def test_tables_and_folders(tmp_path):
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
    assert count_posts(str(table)) == 3
    assert count_posts(str(tmp_path)) == len(posts) == 4
    table.write_text("id,body\n1,x\n")
    with pytest.raises(SourceError, match="expected a column 'text'"):
        list(read_source(str(table)))
    with pytest.raises(SourceError, match="found none"):
        read_source(str(tmp_path / "none.jsonl"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "posts.jsonl").write_text("{}")
    with pytest.raises(SourceError, match="found none: name a file of posts"):
        read_source(str(tmp_path / "folder"))
    with pytest.raises(SourceError, match=r"or a file named \.jsonl, \.csv or \.tsv"):
        read_source(str(tmp_path / "a.jpg"))


def test_the_command_from_posts_to_files(random_pair, source, records, tmp_path):
    pytest.importorskip("rdflib")
    out = [
        tmp_path / f"found{suffix}"
        for suffix in (".jsonl", ".csv", ".conll", ".ttl", ".graphml", ".html")
    ]
    pair = [f"--ner={random_pair['ner']}", f"--re={random_pair['re']}"]
    said = succeed("extract", str(source), *pair, "--detector=center", "-o", *map(str, out)).out
    assert all(path.stat().st_size and str(path) in said for path in out)
    found = read_jsonl(out[0])
    assert [line["id"] for line in found] == [record["id"] for record in records]
    rows = sum(len(line["relations"]) for line in found)
    assert len(out[1].read_text().splitlines()) == 1 + rows > 1
    again = tmp_path / "again.csv"
    succeed("convert", str(out[0]), "--out", str(again))
    assert again.read_bytes() == out[1].read_bytes()
    assert "expected a name that ends in" in run("convert", str(out[0]), "--out", "x.pdf").err
    assert (
        "no checkpoint is named"
        in run("extract", str(source), "-o", str(tmp_path / "none.csv")).err
    )


def test_a_killed_command_continues(random_pair, source, records, tmp_path):
    lines = [{**record, "id": f"{copy}-{record['id']}"} for copy in range(40) for record in records]
    many = write_lines(source.with_name("many.jsonl"), lines)
    out = tmp_path / "out.jsonl"
    arguments = ["extract", str(many), f"--ner={random_pair['ner']}", "--window=64", "-o"]
    command = [sys.executable, "-m", "mmie.cli", *arguments, str(out)]
    progress = out.with_name("out.jsonl.progress")
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not progress.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert progress.exists()
    assert not out.exists()
    done = json.loads(progress.read_text())["totals"]["read"]
    assert 0 < done < len(lines)
    succeed(*arguments, str(out))
    found = read_jsonl(out)
    assert [line["id"] for line in found] == [line["id"] for line in lines]
    extractor = Extractor.from_checkpoint(random_pair["ner"], device="cpu", window=64)
    posts = list(read_source(str(many)))[: 2 * 64]
    assert found[: 2 * 64] == [to_json(extraction) for extraction in extractor.extract(posts)]
