"""Files of a job: what is recorded is on the disk, and nothing damaged is continued."""

import json
from dataclasses import replace

import pytest
from helpers.command import read_jsonl
from helpers.extractions import make_extraction

from mmie.data.sources import BadPost
from mmie.inference.jobs.job_files import (
    InputDigest,
    JobError,
    JobFiles,
    Totals,
    check_targets,
    source_name,
)
from mmie.types import Post
from mmie.utils.files import digest_file

IDENTITY = {"source": ["posts.jsonl"], "window": 8}
FOUND = make_extraction("a", [("Ann", "PER", 1.0), ("Rome", "LOC", 0.5)], [(0, "in", 1, 0.5)])
BROKEN = make_extraction("b", [("Bob \ud800", "PER", 1.0)], problems=["image: missing"])


@pytest.fixture
def files(tmp_path):
    return JobFiles(tmp_path / "new" / "out.jsonl", IDENTITY)


def write_window(files, totals):
    with files.open(totals) as writer:
        writer.write([FOUND, BROKEN], [BadPost("3", "expected a text")])
        writer.commit()


def test_a_finished_job_leaves_results_and_errors(files):
    totals = files.read_progress()
    write_window(files, totals)
    assert files.finish(totals) == files.errors
    assert [line["id"] for line in read_jsonl(files.out)] == ["a", "b"]
    assert b"\\ud800" in files.out.read_bytes()
    assert read_jsonl(files.errors) == [
        {"place": "3", "kind": "format", "reason": "expected a text"}
    ]
    assert {path.name for path in files.out.parent.iterdir()} == {
        "out.jsonl",
        "out.errors.jsonl",
    }
    assert (totals.read, totals.bad, totals.problems, totals.entities, totals.relations) == (
        (3, 1, 1, 3, 1)
    )


def test_a_job_without_bad_posts_leaves_no_errors(files):
    files.out.parent.mkdir()
    files.errors.write_text("of an older job")
    totals = files.read_progress()
    with files.open(totals) as writer:
        writer.write([FOUND], [])
        writer.commit()
    assert files.finish(totals) is None
    assert [path.name for path in files.out.parent.iterdir()] == ["out.jsonl"]


def test_progress_is_read_back_and_uncommitted_lines_are_cut_off(files):
    totals = files.read_progress()
    write_window(files, totals)
    with files.partial_out.open("ab") as stream:
        stream.write(b'{"id": "uncommitted')
    resumed = files.read_progress()
    assert resumed == totals
    with files.open(resumed) as writer:
        writer.write([FOUND], [])
        writer.commit()
    assert [line["id"] for line in read_jsonl(files.partial_out)] == ["a", "b", "a"]
    assert resumed.bytes_found == files.partial_out.stat().st_size
    assert resumed.sha256_found == digest_file(files.partial_out)


def test_a_file_that_is_shorter_than_recorded_is_refused(files):
    write_window(files, files.read_progress())
    files.partial_errors.write_bytes(b"")
    with (
        pytest.raises(JobError, match=r"out\.errors\.jsonl\.partial is shorter than"),
        files.open(files.read_progress()),
    ):
        pass


def flip_bit(file, position):
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["out.jsonl.partial", "out.errors.jsonl.partial"])
def test_a_partial_file_that_was_changed_is_refused(files, name):
    write_window(files, files.read_progress())
    flip_bit(files.out.with_name(name), 12)
    with (
        pytest.raises(JobError, match=rf"{name} is damaged or was changed: .*\.progress; add"),
        files.open(files.read_progress()),
    ):
        pass


def test_a_record_that_was_changed_is_refused(files):
    write_window(files, files.read_progress())
    text = files.progress.read_text()
    flip_bit(files.progress, text.index('"entities": ') + len('"entities": '))
    with pytest.raises(JobError, match=r"progress is damaged: .* checksum; add --overwrite"):
        files.read_progress()


def test_a_finished_file_that_was_changed_is_refused(files):
    totals = files.read_progress()
    write_window(files, totals)
    totals.finished = True
    files.record(totals)
    for file in (files.partial_errors, files.partial_out):
        flip_bit(file, 12)
        with pytest.raises(JobError, match=rf"{file} is damaged or was changed"):
            files.complete()
        flip_bit(file, 12)
    files.partial_out.replace(files.out)
    flip_bit(files.out, 12)
    with pytest.raises(JobError, match=rf"{files.out} is damaged or was changed"):
        files.complete()
    files.out.unlink()
    with pytest.raises(JobError, match=rf"{files.out}: No such file"):
        files.complete()


def test_a_job_of_an_older_version_is_continued(files):
    write_window(files, files.read_progress())
    record = json.loads(files.progress.read_text())
    del record["sha256"], record["totals"]["sha256_found"], record["totals"]["sha256_bad"]
    files.progress.write_text(json.dumps(record))
    totals = files.read_progress()
    write_window(files, totals)
    files.finish(totals)
    assert [line["id"] for line in read_jsonl(files.out)] == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[" * 100_000,
        "[]",
        "3",
        '{"identity": {}}',
        '{"totals": {}}',
        '{"totals": {"x": 1}, "identity": {}}',
    ],
)
def test_a_damaged_record_is_refused(files, record):
    files.progress.parent.mkdir()
    files.progress.write_text(record)
    with pytest.raises(
        JobError, match="is not the progress of a job: add --overwrite to begin anew"
    ):
        files.read_progress()


def test_settings_that_differ_are_named(files):
    write_window(files, files.read_progress())
    same = JobFiles(files.out, {"window": 8, "source": ("posts.jsonl",)})
    assert same.read_progress().read == 3
    other = JobFiles(files.out, {"source": ["posts.jsonl"], "window": 4, "batch_size": 1})
    with pytest.raises(JobError, match="begun with another window, batch_size: add --overwrite"):
        other.read_progress()


def test_discarded_files_begin_anew(files):
    write_window(files, files.read_progress())
    files.discard()
    assert files.read_progress() == Totals()
    assert list(files.out.parent.iterdir()) == []


def test_a_job_with_other_files_keeps_its_record_until_they_are_written(files, tmp_path):
    files = JobFiles(files.out, IDENTITY, [tmp_path / "new" / "out.csv"])
    assert files.read_targets() == set()
    totals = files.read_progress()
    write_window(files, totals)
    files.finish(totals)
    assert files.read_targets() == {files.out, files.errors, tmp_path / "new" / "out.csv"}
    assert files.complete() == totals
    files.progress.write_text("[" * 100_000)
    assert files.read_targets() == {files.out, files.errors}
    files.discard()
    assert {path.name for path in files.out.parent.iterdir()} == {
        "out.jsonl",
        "out.errors.jsonl",
    }


def test_targets_are_checked(tmp_path):
    source, other = tmp_path / "posts.csv", tmp_path / "other.csv"
    source.touch()
    check_targets(str(source), [other], overwrite=False)
    other.touch()
    with pytest.raises(JobError, match=r"other\.csv is there already"):
        check_targets(str(source), [other], overwrite=False)
    check_targets(str(source), [other], overwrite=True)
    with pytest.raises(JobError, match=r"posts\.csv is the source"):
        check_targets(str(source), [other, source], overwrite=True)


def test_a_source_is_named_whatever_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "posts.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    assert source_name("posts.jsonl") == str(tmp_path.resolve() / "posts.jsonl")
    assert source_name("-") == "-"


def digest_of(*items):
    digest = InputDigest()
    for item in items:
        digest.add(item)
    return digest.hexdigest()


def test_the_digest_of_the_input_follows_posts_pictures_and_order(tmp_path):
    picture = tmp_path / "a.jpg"
    post = Post("a", text="Ann \ud800", words=("Ann",), image=picture)
    bad = BadPost("3", "expected a text")
    without_file = digest_of(post)
    picture.write_bytes(b"one")
    inputs = [
        (post, bad),
        (bad, post),
        (post,),
        (post, replace(bad, reason="")),
        (replace(post, id="b"), bad),
        (replace(post, text="Ann"), bad),
        (replace(post, context="seen"), bad),
        (replace(post, image=None), bad),
        (replace(post, image=None, crops=(picture,)), bad),
    ]
    digests = [digest_of(*items) for items in inputs]
    assert len({without_file, *digests}) == len(inputs) + 1
    assert digest_of(post, bad) == digests[0]
    picture.write_bytes(b"three")
    assert digest_of(post, bad) != digests[0]


def test_a_job_interrupted_between_its_renames_completes_them(files):
    totals = files.read_progress()
    write_window(files, totals)
    assert files.complete() is None
    totals.finished = True
    files.record(totals)
    for done in ([], [(files.partial_errors, files.errors)], [(files.partial_out, files.out)]):
        for partial, final in done:
            partial.replace(final)
        files.record(totals)
        assert files.complete() == totals
        assert {path.name for path in files.out.parent.iterdir()} == {
            "out.jsonl",
            "out.errors.jsonl",
        }
        files.out.replace(files.partial_out)
        files.errors.replace(files.partial_errors)


def link(path, target):
    path.symlink_to(target)


def hard_link(path, target):
    path.hardlink_to(target)


@pytest.mark.parametrize("make_link", [link, hard_link])
def test_nothing_is_written_through_a_link(files, tmp_path, make_link):
    kept = tmp_path / "keep.txt"
    kept.write_text("mine")
    files.out.parent.mkdir()
    for path in (files.partial_out, files.partial_errors, files.progress):
        make_link(path, kept)
    files.discard()
    for path in (files.partial_out, files.partial_errors):
        make_link(path, kept)
    totals = files.read_progress()
    write_window(files, totals)
    assert not files.partial_out.is_symlink()
    files.partial_out.unlink()
    make_link(files.partial_out, kept)
    with pytest.raises(JobError, match=r"out\.jsonl\.partial cannot be written"):
        files.open(files.read_progress()).__enter__()
    assert kept.read_text() == "mine"
