"""Atomic writing, digests and bounded reading of YAML."""

import errno
import hashlib
import os
import subprocess
import sys

import pytest
import yaml

from mmie.utils.files import (
    MAX_YAML_VALUES,
    YamlTooLarge,
    atomic_folder,
    atomic_write,
    atomic_write_text,
    atomic_write_texts,
    digest_file,
    digest_path,
    read_yaml,
)


def names(folder):
    """Return the sorted names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_missing_folders_are_made(tmp_path):
    file = tmp_path / "a" / "b" / "file.txt"
    for text in ("first", "naïve"):
        atomic_write_text(file, text)
        assert file.read_text(encoding="utf-8") == text
        assert names(file.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(tmp_path, error):
    file = tmp_path / "file.txt"
    atomic_write_text(file, "old")

    def fail(partial):
        partial.write_text("half of the n")
        raise error

    with pytest.raises(type(error)):
        atomic_write(file, fail, durable=True)
    assert file.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


OLD = {"a.txt": "old a", "b.txt": "old b"}
NEW = {"a.txt": "new a", "b.txt": "new b", "c.txt": "new c"}


def contents(folder):
    """Return the texts in a folder by file name."""
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_texts_are_written_into_a_new_folder_and_replace_older_ones(tmp_path):
    folder = tmp_path / "new" / "out"
    assert atomic_write_texts(folder, OLD) == [folder / "a.txt", folder / "b.txt"]
    atomic_write_texts(folder, {"a.txt": "ä"})
    assert contents(folder) == {**OLD, "a.txt": "ä"}
    mode = (folder / "a.txt").stat().st_mode & 0o777
    (folder / "plain.txt").touch()
    assert mode == (folder / "plain.txt").stat().st_mode & 0o777


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_text_that_cannot_be_put_in_place_leaves_all_old_ones(tmp_path, monkeypatch, failing):
    atomic_write_texts(tmp_path, OLD)
    replace, calls = os.replace, []

    def fail_once(source, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError(errno.EPERM, "not permitted", str(source), None, str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_once)
    with pytest.raises(PermissionError) as caught:
        atomic_write_texts(tmp_path, NEW)
    assert caught.value.filename == str(tmp_path / list(NEW)[failing - 1])
    assert contents(tmp_path) == OLD


def test_a_folder_under_the_name_of_a_text_leaves_all_old_ones(tmp_path):
    atomic_write_texts(tmp_path, OLD)
    (tmp_path / "c.txt").mkdir()
    with pytest.raises(IsADirectoryError, match=r"c\.txt"):
        atomic_write_texts(tmp_path, NEW)
    (tmp_path / "c.txt").rmdir()
    assert contents(tmp_path) == OLD


@pytest.mark.parametrize("write_all", [True, False])
def test_links_are_replaced_and_not_followed(tmp_path, write_all):
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    folder = tmp_path / "out"
    folder.mkdir()
    for name, target in (("a.txt", kept), ("b.txt", tmp_path / "absent.txt")):
        (folder / name).symlink_to(target)
    if write_all:
        atomic_write_texts(folder, NEW)
    else:
        for name, text in NEW.items():
            atomic_write_text(folder / name, text)
    assert contents(folder) == NEW
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert names(tmp_path) == ["kept.txt", "out"]
    assert kept.read_text() == "kept"


def test_a_link_is_put_back_if_another_text_cannot_be_written(tmp_path):
    (tmp_path / "kept.txt").write_text("kept")
    folder = tmp_path / "out"
    (folder / "b.txt").mkdir(parents=True)
    (folder / "a.txt").symlink_to("../kept.txt")
    with pytest.raises(IsADirectoryError):
        atomic_write_texts(folder, NEW)
    assert os.readlink(folder / "a.txt") == "../kept.txt"
    assert names(folder) == ["a.txt", "b.txt"]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from mmie.utils.files import atomic_write_text, atomic_write_texts
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
try:
    if sys.argv[2] == "all":
        atomic_write_texts(folder, {"a.txt": "new", "b.txt": "x" * 1001})
    else:
        atomic_write_text(folder / "b.txt", "x" * 1001)
except OSError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["all", "one"])
def test_a_disk_that_takes_no_more_leaves_the_old_texts(tmp_path, mode):
    atomic_write_texts(tmp_path, OLD)
    command = [sys.executable, "-c", LIMITED, str(tmp_path), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"[Errno {errno.EFBIG}] File too large: '{tmp_path / 'b.txt'}'\n"
    assert contents(tmp_path) == OLD


def test_the_temporary_name_keeps_the_suffix(tmp_path):
    paths = []

    def write(partial):
        paths.append(partial)
        partial.touch()

    atomic_write(tmp_path / "file.png", write)
    assert paths[0].suffix == ".png"
    assert paths[0].parent == tmp_path


def test_a_folder_is_written_atomically(tmp_path):
    def write_half():
        with atomic_folder(tmp_path / "new") as folder:
            (folder / "half").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert names(tmp_path) == []
    # an empty folder may be replaced
    (tmp_path / "new").mkdir()
    with atomic_folder(tmp_path / "new") as folder:
        (folder / "file").touch()
        assert names(tmp_path / "new") == []
    assert names(tmp_path / "new") == ["file"]


def test_a_folder_that_is_not_empty_is_not_replaced(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(FileExistsError, match="holds something"), atomic_folder(path):
            pytest.fail("the folder was replaced")


def test_digests_follow_content_and_names(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "a").write_bytes(b"a")
        (folder / "b").write_bytes(b"b")
    assert digest_file(one / "a") == hashlib.sha256(b"a").hexdigest() == digest_path(one / "a")
    assert digest_path(one) == digest_path(other)
    (other / "b").write_bytes(b"c")
    assert digest_path(one) != digest_path(other)


def test_plain_yaml_is_read(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("a: &x [1, 2]\nb: *x\n")
    assert read_yaml(file) == {"a": [1, 2], "b": [1, 2]}
    file.write_text("")
    assert read_yaml(file) is None


def test_aliases_that_expand_to_too_many_values_are_refused(tmp_path):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for level in range(1, 6):
        aliases = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    file = tmp_path / "a.yaml"
    file.write_text("\n".join(lines))
    assert MAX_YAML_VALUES < 10**6
    with pytest.raises(YamlTooLarge):
        read_yaml(file)


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "[" * 100_000])
def test_endless_nesting_is_refused(tmp_path, text):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(YamlTooLarge):
        read_yaml(file)


def test_files_that_are_no_yaml_raise_their_own_error(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("[: {")
    with pytest.raises(yaml.YAMLError):
        read_yaml(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="utf-8"):
        read_yaml(file)
