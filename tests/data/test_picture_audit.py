"""Audit of picture files, which decodes every file once and remembers the results."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from helpers.pictures import gradient_picture, save_picture, write_bad_files

from mmie.data import picture_audit
from mmie.data.picture_audit import audit_pictures, cache_folder, picture_digests
from mmie.data.pictures import open_picture


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pictures.json"


def test_impossible_file_names_are_missing():
    for path in (Path("a" * 5000), Path("x\0y.jpg")):
        assert audit_pictures([path]) == {path: "missing"}


def test_every_file_is_decoded_once_between_runs(tmp_path, monkeypatch, cache):
    good, bad = save_picture(tmp_path / "good.jpg", gradient_picture()), tmp_path / "bad.jpg"
    bad.write_bytes(b"junk")
    opened = []
    monkeypatch.setattr(
        picture_audit,
        "open_picture",
        lambda path, limit: opened.append(path) or open_picture(path, limit),
    )
    for _ in range(2):
        assert audit_pictures([good, bad, good]) == {bad: "not a picture"}
    assert sorted(opened) == [bad, good]
    assert audit_pictures([good], max_pixels=10) == {good: "more than 10 pixels"}
    save_picture(bad, gradient_picture())
    assert audit_pictures([good, bad]) == {}
    assert sorted(opened) == [bad, bad, good]
    assert sorted(json.loads(cache.read_text())) == [str(bad), str(good)]


def test_digests_of_readable_files(tmp_path, monkeypatch):
    good, bad = save_picture(tmp_path / "good.jpg", gradient_picture()), tmp_path / "bad.jpg"
    bad.write_bytes(b"junk")
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(good.read_bytes())
    expected = hashlib.sha256(good.read_bytes()).hexdigest()
    assert audit_pictures([good]) == {}
    monkeypatch.setattr(
        picture_audit,
        "open_picture",
        lambda path, limit: path != good and open_picture(path, limit),
    )
    assert picture_digests([good, bad, copy, tmp_path / "missing.jpg"]) == {
        good: expected,
        copy: expected,
    }
    assert picture_digests([good], max_pixels=10) == {}


def test_limits_are_not_remembered(tmp_path):
    large = save_picture(tmp_path / "large.png", gradient_picture())
    assert audit_pictures([large], max_pixels=10) == {large: "more than 10 pixels"}
    assert audit_pictures([large]) == {}
    large.write_bytes(large.read_bytes()[:-30])
    assert audit_pictures([large], max_pixels=10) == {large: "more than 10 pixels"}
    assert audit_pictures([large]) == {large: "truncated"}


def test_missing_files_are_not_remembered(tmp_path, cache):
    path = tmp_path / "late.jpg"
    assert audit_pictures([path]) == {path: "missing"}
    assert not cache.exists()
    save_picture(path, gradient_picture())
    assert audit_pictures([path]) == {}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", '{"a": 1}', '{"a": [1, 2]}', '{"a": [1, 2, 3, 4]}']
)
def test_a_damaged_file_of_results_is_ignored(tmp_path, cache, content):
    cache.parent.mkdir()
    cache.write_text(content)
    good = save_picture(tmp_path / "good.jpg", gradient_picture())
    assert audit_pictures([good]) == {}
    assert list(json.loads(cache.read_text())) == [str(good)]
    assert os.listdir(cache.parent) == [cache.name]


def test_results_that_cannot_be_written_are_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path / "file" / "cache"))
    assert audit_pictures([save_picture(tmp_path / "good.jpg", gradient_picture())]) == {}


def test_progress_of_many_pictures_stays_off_standard_output(tmp_path, capsys):
    assert len(audit_pictures([tmp_path / f"{i}.jpg" for i in range(600)])) == 600
    assert capsys.readouterr().out == ""


def test_digests_leave_out_bad_files(tmp_path):
    bad = write_bad_files(tmp_path / "bad")
    assert picture_digests(bad, max_pixels=50_000) == {}


def test_results_of_another_run_are_kept(tmp_path, cache):
    first = save_picture(tmp_path / "first.png", gradient_picture())
    second = save_picture(tmp_path / "second.png", gradient_picture())
    audit_pictures([first])
    audit_pictures([second])
    assert sorted(json.loads(cache.read_text())) == [str(first), str(second)]


def test_cache_folder(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MMIE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "mmie"
