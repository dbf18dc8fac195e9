"""Journals of detections."""

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
