"""Atomic writing, digests and bounded reading of YAML."""

import hashlib

import pytest
import yaml

from mmie.utils.files import (
    MAX_YAML_VALUES,
    YamlTooLarge,
    atomic_folder,
    atomic_write,
    atomic_write_text,
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
