"""Folders of posts."""

import pytest

from mmie.data.sources import SourceError
from mmie.data.sources.folders import list_folder, read_folder


def test_files_of_a_post_in_any_case(tmp_path):
    for name in ("a.txt", "a.TXT", "a.png", "a.JPG", "B.Gif", "c", ".d"):
        (tmp_path / name).touch()
    files = list_folder(tmp_path)
    assert files.stems == ["B", "a"]
    assert files.pictures == {"a": "a.JPG", "B": "B.Gif"}
    (text,) = files.texts.values()
    assert {text, *files.aside} == {"a.txt", "a.TXT", "a.png", "c", ".d"}


def test_a_text_in_utf16(tmp_path):
    (tmp_path / "a.txt").write_text("Zoë", encoding="utf-16")
    (post,) = read_folder(tmp_path)
    assert post.text == "Zoë"


def test_what_a_folder_without_posts_holds_is_named(tmp_path):
    (tmp_path / "video.mp4").touch()
    with pytest.raises(SourceError, match=r"found 'video\.mp4': name a file"):
        read_folder(tmp_path)
