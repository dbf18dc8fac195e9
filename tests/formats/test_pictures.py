"""Pictures: found beside a file, and linked or copied to where another file finds them."""

import base64
import os

import pytest
from helpers.formats import write_text
from helpers.serving import picture_bytes

from mmie.data.parsing import MalformedLine
from mmie.formats import Notes
from mmie.formats.pictures import PictureFinder, PictureMover


@pytest.fixture
def folder(tmp_path):
    """A folder with a picture."""
    write_text(tmp_path / "in" / "a.jpg", "first")
    return tmp_path / "in"


def move(folder, target, record, policy="link"):
    notes = Notes()
    return PictureMover(folder, target, policy).move({"id": "1", **record}, notes), notes


def test_paths_stay_below_the_folder_of_the_target(folder, tmp_path):
    for target, path in ((folder, "a.jpg"), (tmp_path, "in/a.jpg")):
        record, notes = move(folder, target, {"image": "a.jpg", "crops": ["a.jpg"]})
        assert (record["image"], record["crops"]) == (path, [path])
        assert notes == Notes()


@pytest.mark.parametrize("policy", ["link", "copy", "leave"])
def test_pictures_elsewhere_are_linked_copied_or_left_out(folder, tmp_path, policy):
    target = tmp_path / "out"
    record, notes = move(folder, target, {"image": folder / "a.jpg"}, policy)
    if policy == "leave":
        assert record == {"id": "1"}
        assert notes.unused == {"pictures outside of the written file's folder": 1}
        assert not target.exists()
        return
    assert record["image"] == "images/a.jpg"
    assert os.path.samefile(target / "images" / "a.jpg", folder / "a.jpg") == (policy == "link")
    assert (target / "images" / "a.jpg").read_text() == "first"
    assert notes.remarks == {"pictures linked or copied to images/": 1}


def test_another_picture_of_the_same_name_is_kept(folder, tmp_path):
    write_text(tmp_path / "out" / "images" / "a.jpg", "second")
    record, _ = move(folder, tmp_path / "out", {"image": "a.jpg"})
    assert (tmp_path / "out" / record["image"]).read_text() == "first"
    assert (tmp_path / "out" / "images" / "a.jpg").read_text() == "second"


def test_missing_pictures_and_addresses_are_counted(folder, tmp_path):
    record, notes = move(folder, folder, {"image": "b.jpg"})
    assert (record["image"], notes.remarks.total()) == ("b.jpg", 1)
    for image in ("b.jpg", "https://a.b/c.jpg"):
        record, notes = move(folder, tmp_path / "out", {"image": image})
        assert (record, notes.unused.total()) == ({"id": "1"}, 1)


@pytest.mark.parametrize("image", ["../a.jpg", "/etc/passwd", "a\0b", 3, ["a"], "\udc00"])
def test_a_path_that_leads_out_is_refused(folder, image):
    with pytest.raises(MalformedLine):
        move(folder, folder, {"image": image})
    with pytest.raises(MalformedLine):
        move(folder, folder, {"crops": [image]})


def test_several_pictures_are_moved_each_once(folder, tmp_path):
    write_text(folder / "b.jpg", "other")
    several = {"image": "a.jpg", "images": ["a.jpg", "b.jpg"]}
    record, _ = move(folder, tmp_path, several)
    assert record == {"id": "1", "images": ["in/a.jpg", "in/b.jpg"]}
    record, notes = move(folder, tmp_path / "out", {"images": ["a.jpg", "c.jpg", "https://a/b"]})
    assert record == {"id": "1", "image": "images/a.jpg"}
    assert notes.unused.total() == 2
    assert move(folder, folder, {"images": []})[0] == {"id": "1"}
    for images in ("a.jpg", [3], ["../a.jpg"], {"a": 1}):
        with pytest.raises(MalformedLine):
            move(folder, folder, {"images": images})


def test_the_picture_of_a_data_uri_is_a_file(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path / "cache"))
    content = picture_bytes()
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    record, notes = move(folder, tmp_path / "out", {"image": uri})
    assert (tmp_path / "out" / record["image"]).read_bytes() == content
    assert notes.unused == {}
    with pytest.raises(MalformedLine, match="data: URI"):
        move(folder, tmp_path / "out", {"image": uri[:-1]})


def test_names_of_pictures_are_resolved(folder):
    write_text(folder / "7.png", "")
    finder = PictureFinder(folder, search=False)
    assert finder.resolve({"image": 7})["image"] == folder / "7.png"
    assert finder.resolve({"image": ["a", "b"], "images": ["7"]})["images"] == [
        folder / "a.jpg",
        "b",
        folder / "7.png",
    ]
    assert finder.resolve({"images": "a"})["image"] == folder / "a.jpg"
    assert finder.resolve({"image": True})["image"] is True
    assert finder.resolve({"text": "x"}) == {"text": "x"}


def test_finding_by_name(folder, tmp_path):
    write_text(tmp_path / "x_images" / "7.png", "")
    write_text(folder / "images" / "8.jpg", "")
    finder = PictureFinder(folder, search=True)
    assert finder.find("a") == finder.find("a.jpg") == folder / "a.jpg"
    assert finder.find("7") == tmp_path / "x_images" / "7.png"
    assert finder.find("8") == folder / "images" / "8.jpg"
    assert finder.find("../in/a") is None
    assert finder.find("a\0") is None
    assert PictureFinder(folder, search=False).find("8") is None
