"""Checks and conversions of what a file holds."""

import os
from pathlib import Path

import pytest

from mmie.data.parsing import (
    MalformedLine,
    check_disjoint,
    check_name,
    check_span,
    check_utf8,
    check_words,
    existing_or_first,
    expand_user,
    lies_inside,
    list_value,
    optional_value,
    picture_path,
    read_lines,
    unique_ids,
    unique_keys,
)
from mmie.types import Entity, Post


def test_an_error_is_one_short_line():
    error = MalformedLine("a word", "x" * 1000, 7)
    assert str(error) == f"expected a word, found {'x' * 157}..."
    assert error.line == 7
    assert MalformedLine("a word", "none").line is None


def test_lines_end_at_line_feeds_alone(tmp_path):
    content = "\ufeffa\u2028b\x85c\r\nd\r\n\ne"
    (tmp_path / "a.txt").write_bytes(content.encode())
    assert read_lines(tmp_path / "a.txt") == ["a\u2028b\x85c", "d", "", "e"]


def test_bytes_that_are_not_utf8_are_found_by_their_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\n\xe9\nb")
    lines = read_lines(tmp_path / "a.txt")
    check_utf8(lines[:1], 1)
    with pytest.raises(
        MalformedLine, match=r"expected UTF-8 text, found the byte 0xe9 at byte 1"
    ) as error:
        check_utf8(lines, 5)
    assert error.value.line == 6


@pytest.mark.parametrize("words", [None, [], "ab", ("a",), ["a", ""], ["a", 2], ["\ud800"]])
def test_invalid_words(words):
    with pytest.raises(MalformedLine, match="word"):
        check_words(words)


def test_words_become_a_tuple():
    assert check_words(["a", "\ufe0f"]) == ("a", "\ufe0f")


@pytest.mark.parametrize("name", [None, "", 7, "\udcff", ["a"]])
def test_invalid_names(name):
    with pytest.raises(MalformedLine, match="expected a label, found"):
        check_name(name, "a label")


def test_a_value_that_cannot_be_shown_is_named_by_its_type():
    with pytest.raises(MalformedLine, match="found a int too large to show"):
        check_name(10**5000, "a label")


def test_a_name_is_returned():
    assert check_name("PER", "a type") == "PER"


@pytest.mark.parametrize(
    ("start", "end"), [(0, 4), (-1, 1), (1, 1), (2, 1), ("0", 1), (False, 1), (0, 1.0), (None, 1)]
)
def test_invalid_spans(start, end):
    with pytest.raises(MalformedLine, match=f"0 <= start < end <= 3, found start {start!r}, end"):
        check_span(start, end, 3, "a span")


def test_a_span_is_returned():
    assert check_span(0, 3, 3, "a span") == (0, 3)


def test_entities_are_sorted_and_must_not_overlap():
    first, second = Entity(0, 2, "A"), Entity(2, 3, "B")
    assert check_disjoint([second, first]) == (first, second)
    with pytest.raises(MalformedLine, match="share no word"):
        check_disjoint([second, Entity(1, 3, "C"), first])


def test_a_repeated_key_is_rejected():
    assert unique_keys([("a", 1), ("b", 1)]) == {"a": 1, "b": 1}
    with pytest.raises(MalformedLine, match="'a' twice"):
        unique_keys([("a", 1), ("b", 1), ("a", 1)])


def test_repeated_ids_become_unique():
    posts = [Post(name, ("a",)) for name in ("1", "1#2", "1", "1", "2")]
    unique = unique_ids(posts)
    assert [post.id for post in unique] == ["1", "1#2", "1#3", "1#4", "2"]
    assert unique[0] is posts[0]


def test_places_below_a_folder_are_told_from_others(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "out").symlink_to(tmp_path)
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a" / "loop")
    (tmp_path / "in").symlink_to(tmp_path / "a")
    folder = tmp_path / "a"
    inside = ("a/b", "a/b/../c", "in/b", "b/../a/b", "a/out/a/b")
    assert all(lies_inside(tmp_path / name, folder) for name in inside)
    outside = ("a", "a/..", "a/../b", "ab/c", "a/out/b", "in", "a/loop/b", "a/nul\0")
    assert not any(lies_inside(tmp_path / name, folder) for name in outside)


def test_picture_paths_stay_in_their_folder(tmp_path):
    assert picture_path(tmp_path, "a/b.jpg") == tmp_path / "a" / "b.jpg"
    assert picture_path(tmp_path, "a/../b.jpg") == tmp_path / "a" / ".." / "b.jpg"
    (tmp_path / "inside.jpg").symlink_to(tmp_path / "b.jpg")
    assert picture_path(tmp_path, "inside.jpg") == tmp_path / "inside.jpg"


@pytest.mark.parametrize("name", ["..", "../a.jpg", "/etc/a.jpg", ".", "a/..", "out.jpg", "loop"])
def test_picture_paths_out_of_their_folder_are_rejected(tmp_path, name):
    os.symlink(tmp_path.parent / "a.jpg", tmp_path / "out.jpg")
    os.symlink(tmp_path / "loop", tmp_path / "loop")
    reason = "leads to itself" if name == "loop" else "leads out of"
    with pytest.raises(MalformedLine, match=reason):
        picture_path(tmp_path, name)


@pytest.mark.parametrize("name", [None, "", 7, "a\0b", "\udcff.jpg"])
def test_picture_paths_are_names(tmp_path, name):
    with pytest.raises(MalformedLine, match="the name of a picture file"):
        picture_path(tmp_path, name)


def test_the_existing_or_first_path_is_preferred(tmp_path):
    candidates = [tmp_path / name for name in "abc"]
    assert existing_or_first(candidates) == candidates[0]
    candidates[2].mkdir()
    candidates[1].touch()
    assert existing_or_first(candidates) == candidates[1]


def test_unknown_users_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_user("~/a") == tmp_path / "a"
    assert expand_user("~no-such-user/a") == Path("~no-such-user/a")


def test_optional_values():
    record = {"a": "x", "b": None, "c": 7}
    assert optional_value(record, "a", str, "a text") == "x"
    assert optional_value(record, "b", str, "a text") is None
    assert optional_value(record, "d", str, "a text") is None
    with pytest.raises(MalformedLine, match="'c' to be a text, found 7"):
        optional_value(record, "c", str, "a text")


def test_lists_of_values():
    record = {"a": ["x"], "b": None, "c": "x", "d": ["x", 7]}
    assert list_value(record, "a", str, "paths") == ["x"]
    assert list_value(record, "b", str, "paths") == list_value(record, "e", str, "paths") == []
    for key in "cd":
        with pytest.raises(MalformedLine, match=f"'{key}' to be a list of paths, found"):
            list_value(record, key, str, "paths")
