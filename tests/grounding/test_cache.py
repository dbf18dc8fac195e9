"""Journals of detections."""

import errno
import json
import os
import random
from pathlib import Path

import pytest
from helpers.detectors import FakeDetector

from mmie.grounding.cache import DetectionCache, PictureDetections, read_journal
from mmie.grounding.center import CenterCrops
from mmie.grounding.detection import Detection
from mmie.grounding.errors import GroundingError

RESULT = PictureDetections((40, 30), [Detection((1, 2, 3, 4), "red çar", 0.5, "fake")])
EMPTY = PictureDetections((40, 30), [])


def test_results_are_read_back(tmp_path):
    cache = DetectionCache(FakeDetector(), tmp_path)
    cache.add({"a": RESULT})
    cache.add({"b": EMPTY})
    again = DetectionCache(FakeDetector(), tmp_path)
    assert again["a"] == RESULT
    assert again["b"] == EMPTY
    assert "c" not in again


def test_key_depends_on_the_picture_and_the_phrases(tmp_path):
    cache = DetectionCache(FakeDetector(), tmp_path)
    keys = {cache.key(digest, phrases) for digest in ("1", "2") for phrases in ([], ["x"], ["y"])}
    assert len(keys) == 6


def test_key_ignores_phrases_that_the_detector_does_not_read(tmp_path):
    cache = DetectionCache(CenterCrops(), tmp_path)
    assert cache.key("1", ["x"]) == cache.key("1", [])


def test_detectors_of_other_identity_have_other_journals(tmp_path):
    DetectionCache(FakeDetector(), tmp_path).add({"a": RESULT})
    assert "a" not in DetectionCache(FakeDetector(version=1), tmp_path)


def test_partial_last_line_is_ignored_and_ended(tmp_path):
    cache = DetectionCache(FakeDetector(), tmp_path)
    cache.add({"a": RESULT, "b": RESULT})
    cache.file.write_bytes(cache.file.read_bytes()[:-10])
    again = DetectionCache(FakeDetector(), tmp_path)
    assert "b" not in again
    again.add({"c": RESULT})
    assert dict(read_journal(cache.file)) == {"a": RESULT, "c": RESULT}


def test_missing_journal_is_empty(tmp_path):
    assert list(read_journal(tmp_path / "no.jsonl")) == []


def test_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "folder").write_text("a file where the folder should be")
    with pytest.raises(GroundingError, match="cannot be written"):
        DetectionCache(FakeDetector(), tmp_path / "folder")


def test_a_flipped_bit_is_detected_at_any_place(tmp_path, rounds):
    cache = DetectionCache(FakeDetector(), tmp_path)
    results = {"a": RESULT, "b": EMPTY, "c": PictureDetections((7, 8), [])}
    cache.add(results)
    content = cache.file.read_bytes()
    generator = random.Random(5)
    for _ in range(rounds(100, 20_000)):
        changed = bytearray(content)
        changed[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        cache.file.write_bytes(changed)
        read = dict(read_journal(cache.file))
        assert len(read) < len(results) or changed[:-1] == content[:-1]  # the last line end
        assert read.items() <= results.items()


def test_lines_of_version_0_1_are_read(tmp_path):
    cache = DetectionCache(FakeDetector(), tmp_path)
    cache.file.write_text(
        json.dumps({"key": "a", "size": RESULT.size, "found": RESULT.detections}) + "\n"
    )
    assert DetectionCache(FakeDetector(), tmp_path)["a"] == RESULT


@pytest.fixture
def forbid_writing(monkeypatch):
    """Function after whose call no file can be written, as on a read-only disk."""
    opening = Path.open

    def fail(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def open_to_read(path, mode="r", **options):
        return opening(path, mode, **options) if mode in ("r", "rb") else fail(path)

    def forbid():
        monkeypatch.setattr(Path, "open", open_to_read)
        for name in ("mkdir", "write_text"):
            monkeypatch.setattr(Path, name, fail)

    return forbid


def test_a_filled_journal_needs_no_right_to_write(tmp_path, forbid_writing):
    DetectionCache(FakeDetector(), tmp_path).add({"a": RESULT})
    forbid_writing()
    cache = DetectionCache(FakeDetector(), tmp_path)
    assert cache["a"] == RESULT
    for write in (cache.check_writable, lambda: cache.add({"b": RESULT})):
        with pytest.raises(GroundingError, match=r"jsonl: cannot be written: Read-only"):
            write()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_journal_that_cannot_be_read_is_left_and_named(tmp_path, monkeypatch, number):
    cache = DetectionCache(FakeDetector(), tmp_path)
    cache.add({"a": RESULT})

    def fail(path, *arguments, **settings):
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        message = f"{cache.file}: cannot be read: {os.strerror(number)}"
        with pytest.raises(GroundingError, match=message):
            DetectionCache(FakeDetector(), tmp_path)
    assert DetectionCache(FakeDetector(), tmp_path)["a"] == RESULT
