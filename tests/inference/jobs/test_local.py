"""A job over a source resumes after a kill, is atomic, and loses no post."""

import io
import json
import os
import signal
import sys
import threading
import time

import pytest
from helpers.command import read_jsonl, succeed, write_jsonl
from helpers.extractions import Killed, MortalExtractor
from helpers.fits import fork_command, wait_for_exit

from mmie.data.sources import read_source
from mmie.inference import Extractor
from mmie.inference.formats.text import to_json
from mmie.inference.jobs.job_files import JobError
from mmie.inference.jobs.local import extract_to_file
from mmie.utils.locks import LockError

pytestmark = pytest.mark.slow


def test_a_job_replaces_no_file_of_bad_posts_unasked(extractor, source, tmp_path):
    out, errors = tmp_path / "found.jsonl", tmp_path / "found.errors.jsonl"
    errors.write_text("of an earlier job")
    with pytest.raises(JobError, match=r"found\.errors\.jsonl is there already"):
        extract_to_file(extractor, str(source), out)
    assert errors.read_text() == "of an earlier job"
    extract_to_file(extractor, str(source), out, overwrite=True)
    assert not errors.exists()
    out.unlink()
    errors.write_bytes(source.read_bytes())
    for overwrite in (False, True):
        with pytest.raises(JobError, match=r"found\.errors\.jsonl is the source"):
            extract_to_file(extractor, str(errors), out, overwrite=overwrite)
    assert errors.read_bytes() == source.read_bytes()


def test_an_interrupted_job_continues_with_the_same_result(extractor, source, tmp_path):
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    expected = extract_to_file(extractor, str(source), whole)
    assert expected.totals.read == expected.totals.bad + len(read_jsonl(whole))
    for lifetime in (3, 11, 17):
        with pytest.raises(Killed):
            extract_to_file(MortalExtractor(extractor, lifetime), str(source), resumed)
        assert not resumed.exists()
    last = MortalExtractor(extractor, 10**6)
    summary = extract_to_file(last, str(source), resumed)
    assert summary.resumed == 8 + 16
    assert last.received[0] == "p24"
    assert resumed.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"whole.jsonl", "resumed.jsonl"}
    assert (summary.totals.entities, summary.totals.read) == (
        expected.totals.entities,
        expected.totals.read,
    )


def test_bad_posts_are_listed_and_skipped(extractor, source, records, tmp_path):
    bad = [
        '{"id": 1, "text": "a',
        '{"text": 5}',
        '{"text": "x", "image": "../../etc/passwd"}',
        "[]",
    ]
    good = [json.dumps(record) for record in records[:30]]
    lines = [*good[:9], *bad, *good[9:], '{"text": "no id"}', '{"text": ""}', ""]
    mixed = source.with_name("mixed.jsonl")
    mixed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = tmp_path / "out.jsonl"
    summary = extract_to_file(extractor, str(mixed), out)
    errors = read_jsonl(summary.errors)
    assert [error["place"] for error in errors] == ["10", "11", "12", "13"]
    assert all(error["reason"].startswith("expected") for error in errors)
    results = read_jsonl(out)
    assert [line["id"] for line in results] == [f"p{number}" for number in range(30)] + ["35", "36"]
    assert results[-1]["problems"] == ["text: no words"]
    assert summary.totals.read == len(results) + len(errors)
    resumed = tmp_path / "resumed.jsonl"
    with pytest.raises(Killed):
        extract_to_file(MortalExtractor(extractor, 18), str(mixed), resumed)
    extract_to_file(extractor, str(mixed), resumed)
    assert resumed.read_bytes() == out.read_bytes()
    assert resumed.with_name("resumed.errors.jsonl").read_bytes() == summary.errors.read_bytes()


def test_a_result_is_replaced_only_if_asked_to(extractor, source, tmp_path):
    out = tmp_path / "out.jsonl"
    extract_to_file(extractor, str(source), out)
    with pytest.raises(JobError, match="is there already: name another file, or add --overwrite"):
        extract_to_file(extractor, str(source), out)
    extract_to_file(extractor, str(source), out, overwrite=True)


def test_a_job_continues_only_with_the_same_settings_and_source(
    extractor, source, records, tmp_path
):
    out = tmp_path / "out.jsonl"
    mortal = MortalExtractor(extractor, 9)
    with pytest.raises(Killed):
        extract_to_file(mortal, str(source), out, settings={"batch_size": 4})
    with pytest.raises(JobError, match="begun with another batch_size"):
        extract_to_file(extractor, str(source), out, settings={"batch_size": 5})
    write_jsonl(source, records[:3])
    with pytest.raises(JobError, match="has changed since"):
        extract_to_file(extractor, str(source), out, settings={"batch_size": 4})
    other = source.with_name("other.jsonl")
    write_jsonl(other, records)
    with pytest.raises(JobError, match="begun with another source"):
        extract_to_file(extractor, str(other), out, settings={"batch_size": 4})
    summary = extract_to_file(
        extractor, str(source), out, settings={"batch_size": 5}, overwrite=True
    )
    assert (summary.totals.read, summary.resumed) == (3, 0)


@pytest.fixture
def folder(tmp_path):
    """A folder of thirty posts."""
    folder = tmp_path / "posts"
    folder.mkdir()
    for number in range(30):
        (folder / f"p{number:02}.txt").write_text(f"Jordan {number} lands in Rome")
    return folder


def test_a_folder_with_new_members_is_known_by_what_was_read(extractor, folder, tmp_path):
    out = tmp_path / "out.jsonl"
    with pytest.raises(Killed):
        extract_to_file(MortalExtractor(extractor, 17), str(folder), out)
    (folder / "a.txt").write_text("Jordan")
    with pytest.raises(JobError, match=r"has changed since .*: the first 16 posts are not"):
        extract_to_file(extractor, str(folder), out)
    (folder / "a.txt").unlink()
    (folder / "q.txt").write_text("Jordan")
    summary = extract_to_file(extractor, str(folder), out)
    assert (summary.resumed, summary.totals.read) == (16, 31)
    expected = [*(f"p{number:02}" for number in range(30)), "q"]
    assert [line["id"] for line in read_jsonl(out)] == expected


def test_a_file_that_grows_is_read_on(extractor, source, records, tmp_path):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    extract_to_file(extractor, str(source), whole)
    write_jsonl(source, records[:20])
    with pytest.raises(Killed):
        extract_to_file(MortalExtractor(extractor, 9), str(source), out)
    write_jsonl(source, records)
    assert extract_to_file(extractor, str(source), out).resumed == 8
    assert out.read_bytes() == whole.read_bytes()


def test_standard_input_is_known_by_what_was_read(extractor, records, tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    texts = [{"id": record["id"], "text": record["text"]} for record in records[:20]]

    def feed(posts):
        lines = "".join(json.dumps(post) + "\n" for post in posts)
        stream = io.TextIOWrapper(io.BytesIO(lines.encode()))
        monkeypatch.setattr(sys, "stdin", stream)

    feed(texts)
    with pytest.raises(Killed):
        extract_to_file(MortalExtractor(extractor, 9), "-", out)
    for other in (texts[1:], texts[:5], [{**texts[0], "text": "Jordan"}, *texts[1:]]):
        feed(other)
        with pytest.raises(JobError, match="- has changed since"):
            extract_to_file(extractor, "-", out)
    feed(texts)
    extract_to_file(extractor, "-", out)
    assert [line["id"] for line in read_jsonl(out)] == [post["id"] for post in texts]


def test_a_second_job_with_the_same_target_is_refused(extractor, source, tmp_path):
    out = tmp_path / "out.jsonl"
    refused = []

    class SecondJob(MortalExtractor):
        def stream(self, posts):
            thread = threading.Thread(target=self.start_second)
            thread.start()
            thread.join()
            return super().stream(posts)

        def start_second(self):
            for overwrite in (False, True):
                with pytest.raises(LockError) as caught:
                    extract_to_file(extractor, str(source), out, overwrite=overwrite)
                refused.append(str(caught.value))

    extract_to_file(SecondJob(extractor, 10**6), str(source), out)
    assert all(f"is being written by process {os.getpid()} on " in reason for reason in refused)
    assert len(refused) == 2
    assert len(read_jsonl(out)) == len(list(read_source(str(source))))
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_the_source_is_never_overwritten(extractor, source):
    before = source.read_bytes()
    with pytest.raises(JobError, match="is the source, and would be written over"):
        extract_to_file(extractor, str(source), source, overwrite=True)
    assert source.read_bytes() == before


def test_a_killed_command_continues(random_pair, source, records, tmp_path):
    lines = [{**record, "id": f"{copy}-{record['id']}"} for copy in range(40) for record in records]
    many = source.with_name("many.jsonl")
    write_jsonl(many, lines)
    out = tmp_path / "out.jsonl"
    arguments = ["extract", str(many), f"--ner={random_pair['ner']}", "--window=64", "-o"]
    progress = out.with_name("out.jsonl.progress")
    process = fork_command(*arguments, out)
    while process.is_alive() and not progress.exists():
        time.sleep(0.01)
    process.kill()
    assert wait_for_exit(process) == -signal.SIGKILL
    assert progress.exists()
    assert not out.exists()
    done = json.loads(progress.read_text())["totals"]["read"]
    assert 0 < done < len(lines)
    succeed(*arguments, str(out))
    results = read_jsonl(out)
    assert [line["id"] for line in results] == [line["id"] for line in lines]
    extractor = Extractor.from_checkpoint(random_pair["ner"], device="cpu", window=64)
    posts = list(read_source(str(many)))[: 2 * 64]
    pictures = [result.pop("image") for result in results]
    assert {(out.parent / picture).is_file() for picture in pictures} == {True}
    assert results[: 2 * 64] == [to_json(extraction) for extraction in extractor.extract(posts)]


def test_faults_are_counted_by_kind_and_named(extractor, records, tmp_path):
    lines = [
        {**records[0], "image": "https://example.org/a.jpg"},
        {"id": "z", "text": 3},
        records[1],
    ]
    source = tmp_path / "posts.jsonl"
    write_jsonl(source, [*lines, records[1]])
    with source.open("a") as stream:
        stream.write("{")
    summary = extract_to_file(extractor, str(source), tmp_path / "found.jsonl")
    assert summary.totals.kinds_bad == {"format": 1, "json": 1}
    (kind,) = [kind for kind in summary.totals.kinds_problems if "address" in kind]
    assert kind.startswith("image: missing: the name is an address")
    assert summary.repeated == (1, [records[1]["id"]])
    first, second = read_jsonl(summary.errors)
    assert (first["id"], first["place"], first["kind"]) == ("z", "2", "format")
    assert (second["place"], second["kind"], "id" in second) == ("5", "json", False)


def test_a_job_stops_at_too_many_errors(extractor, records, tmp_path):
    source, out = tmp_path / "posts.jsonl", tmp_path / "found.jsonl"
    write_jsonl(source, [records[0], {}, {}])
    with pytest.raises(JobError, match=r"2 of 3 posts could not be read, more than --max_errors 1"):
        extract_to_file(extractor, str(source), out, max_errors=1)
    assert not out.exists()
    summary = extract_to_file(extractor, str(source), out, max_errors=2)
    assert summary.totals.bad == 2
