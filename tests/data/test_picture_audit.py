"""Audit of picture files, which decodes every file once and remembers the results."""

import errno
import hashlib
import io
import json
import os
import random
from pathlib import Path

import pytest
from helpers.pictures import encode_picture, gradient_picture, save_picture, write_bad_files
from PIL import Image, ImageFile

from mmie.data import picture_audit
from mmie.data.picture_audit import (
    CacheFolderUnknown,
    audit_pictures,
    cache_folder,
    forget_picture,
    picture_digests,
)
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


def test_an_unknown_home_folder_names_the_way_out(monkeypatch):
    monkeypatch.delenv("MMIE_CACHE")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(CacheFolderUnknown, match=r"set MMIE_CACHE, .* --feature_store"):
        cache_folder()
    assert audit_pictures([Path("gone.jpg")]) == {Path("gone.jpg"): "missing"}


def digest(content: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def two_pictures_of_one_size() -> tuple[bytes, bytes]:
    """Return the bytes of two pictures that differ in nothing but their colours."""
    picture = gradient_picture()
    return encode_picture(picture, "BMP"), encode_picture(picture.rotate(180), "BMP")


def replace_in_place(path: Path, content: bytes) -> None:
    """Write other bytes of the same size into a file and restore its times."""
    path.write_bytes(content)
    os.utime(path, (0, 0))


def replace_by_rename(path: Path, content: bytes) -> None:
    """Put another file of the same size and times under a name, as rsync does."""
    other = path.with_suffix(".new")
    other.write_bytes(content)
    os.utime(other, (0, 0))
    other.replace(path)


@pytest.fixture
def without_ticks(monkeypatch):
    """Take the clock to be exact, so that files are remembered that were written just now."""
    monkeypatch.setattr(picture_audit, "_CLOCK_TICK_NS", 0)


@pytest.mark.parametrize("change", [replace_in_place, replace_by_rename])
@pytest.mark.parametrize("exact", [False, True])
def test_keys_follow_the_bytes_where_size_and_time_stay(tmp_path, monkeypatch, change, exact):
    if exact:
        monkeypatch.setattr(picture_audit, "_CLOCK_TICK_NS", 0)
    first, second = two_pictures_of_one_size()
    assert len(first) == len(second)
    path = tmp_path / "picture.bmp"
    for content in (first, second, first):
        change(path, content)
        assert picture_digests([path]) == {path: digest(content)}


def test_a_change_that_no_status_shows_is_found_by_sample(tmp_path, monkeypatch, without_ticks):
    first, second = two_pictures_of_one_size()
    paths = [tmp_path / f"{number}.bmp" for number in range(3)]
    for path in paths:
        path.write_bytes(first)
    picture_digests(paths)
    statuses = {path: path.stat() for path in paths}
    for path in paths:
        path.write_bytes(second)
    stat = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **options: statuses.get(path) or stat(path, **options)
    )
    with pytest.warns(UserWarning, match="all 3 that seemed unchanged are read again"):
        assert picture_digests(paths) == dict.fromkeys(paths, digest(second))
    assert picture_digests(paths) == dict.fromkeys(paths, digest(second))


def test_a_sample_of_unchanged_files_is_read(tmp_path, monkeypatch, without_ticks):
    paths = [tmp_path / f"{number}.bmp" for number in range(40)]
    for path in paths:
        path.write_bytes(two_pictures_of_one_size()[0])
    audit_pictures(paths)
    read = []
    digest_file = picture_audit.digest_file
    monkeypatch.setattr(
        picture_audit, "digest_file", lambda path: read.append(path) or digest_file(path)
    )
    audit_pictures(paths)
    assert len(read) == len(set(read)) == 16
    state = random.getstate()
    audit_pictures(paths)
    assert random.getstate() == state


def test_unchanged_bytes_under_another_status_are_not_decoded(tmp_path, monkeypatch):
    path = save_picture(tmp_path / "a.jpg", gradient_picture())
    expected = picture_digests([path])
    monkeypatch.setattr(picture_audit, "_decode", lambda *_: pytest.fail("decoded"))
    os.utime(path, (5, 5))
    assert picture_digests([path]) == expected


def test_results_of_version_0_1_are_read(tmp_path, monkeypatch, cache):
    path = save_picture(tmp_path / "a.jpg", gradient_picture())
    status = path.stat()
    expected = digest(path.read_bytes())
    cache.parent.mkdir()
    old = [status.st_size, status.st_mtime_ns, 2400, "", expected]
    cache.write_text(json.dumps({str(path): old}))
    monkeypatch.setattr(picture_audit, "_decode", lambda *_: pytest.fail("decoded"))
    assert picture_digests([path]) == {path: expected}
    cache.write_text(json.dumps({str(path): [*old[:4], "0" * 64]}))
    with pytest.raises(pytest.fail.Exception):
        picture_digests([path])


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, "no permission to read it"),
        (errno.EMFILE, "cannot be read: Too many open files"),
        (errno.EIO, "cannot be read: Input/output error"),
    ],
)
@pytest.mark.parametrize("place", ["digest", "header", "pixels"])
def test_a_file_that_cannot_be_read_now_is_not_remembered(
    tmp_path, monkeypatch, cache, number, reason, place
):
    path = save_picture(tmp_path / "a.jpg", gradient_picture())

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        if place == "digest":
            patch.setattr(picture_audit, "digest_file", fail)
        elif place == "header":
            patch.setattr(Image, "open", fail)
        else:
            patch.setattr(ImageFile.ImageFile, "load", fail)
        assert audit_pictures([path]) == {path: reason}
    assert not cache.exists()
    assert audit_pictures([path]) == {}


def test_a_picture_that_changes_while_it_is_read_is_not_remembered(tmp_path, monkeypatch, cache):
    path = tmp_path / "a.bmp"
    contents = list(two_pictures_of_one_size())
    path.write_bytes(contents[0])
    decode = picture_audit._decode

    def decode_and_change(*arguments):
        contents.reverse()
        replace_by_rename(path, contents[0])
        return decode(*arguments)

    monkeypatch.setattr(picture_audit, "_decode", decode_and_change)
    assert audit_pictures([path]) == {path: "changes while it is read"}
    assert not cache.exists()


def test_a_forgotten_picture_is_read_again(tmp_path, cache, without_ticks):
    first, second = tmp_path / "a.jpg", tmp_path / "b.jpg"
    for path in (first, second):
        save_picture(path, gradient_picture())
    audit_pictures([first, second])
    forget_picture(first)
    assert list(json.loads(cache.read_text())) == [str(second)]
    forget_picture(first)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_rights_that_are_given_later_count(tmp_path):
    path = save_picture(tmp_path / "a.jpg", gradient_picture())
    path.chmod(0)
    assert audit_pictures([path]) == {path: "no permission to read it"}
    path.chmod(0o600)
    assert audit_pictures([path]) == {}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "cannot be read: Too many open files"),
        (PermissionError(errno.EACCES, ""), "no permission to read it"),
        (OSError("decoder jpeg not available"), "cannot be decoded here"),
        (MemoryError(), "no memory to decode it"),
    ],
)
def test_only_what_follows_from_the_bytes_is_remembered(tmp_path, monkeypatch, error, reason):
    good = save_picture(tmp_path / "a.jpg", gradient_picture())

    def fail(picture):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("PIL.ImageFile.ImageFile.load", fail)
        assert audit_pictures([good])[good].startswith(reason)
    assert audit_pictures([good]) == {}


def test_a_fault_holds_for_the_decoders_that_found_it(tmp_path, monkeypatch):
    bad = tmp_path / "a.heic"
    bad.write_bytes(b"?")
    with monkeypatch.context() as patched:
        patched.setattr("mmie.data.picture_audit.decoders", lambda: "none")
        assert audit_pictures([bad]) == {bad: "not a picture"}
    stream = io.BytesIO()
    gradient_picture().save(stream, "PNG")
    with monkeypatch.context() as patched:
        patched.setattr("mmie.data.picture_audit._decode", lambda path, limit: (7, ""))
        assert audit_pictures([bad]) == {}
