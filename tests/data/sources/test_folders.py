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


def test_other_names_of_a_text(tmp_path):
    e_nfc, e_nfd = "\u00e9", "e\u0301"
    names = ["a.jpg", "a.JPG.txt", "b.png", "b.png.txt", "b.txt", "c.tar.gif", "c.tar.gif.TXT"]
    for name in [*names, f"{e_nfc}.jpg", f"{e_nfd}.txt", "._a.jpg"]:
        (tmp_path / name).write_text(name)
    files = list_folder(tmp_path)
    assert files.texts == {
        "a.JPG": "a.JPG.txt",
        "b": "b.txt",
        "b.png": "b.png.txt",
        "c.tar": "c.tar.gif.TXT",
        e_nfc: f"{e_nfd}.txt",
    }
    assert files.pictures.keys() == {"a", "b", "c.tar", e_nfc}
    assert files.aside == ["._a.jpg"]


def test_a_text_in_utf16(tmp_path):
    (tmp_path / "a.txt").write_text("Zoë", encoding="utf-16")
    (post,) = read_folder(tmp_path)
    assert post.text == "Zoë"


def test_what_a_folder_without_posts_holds_is_named(tmp_path):
    (tmp_path / "video.mp4").touch()
    with pytest.raises(SourceError, match=r"found 'video\.mp4': name a file"):
        read_folder(tmp_path)
