"""Pictures: found beside a file, and linked or copied to where another file finds them."""

import os

import pytest
from helpers.formats import write_text

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
