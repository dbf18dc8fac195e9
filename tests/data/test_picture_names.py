"""Names of pictures that are no paths."""

import base64
import json

import pytest
from PIL import Image

from mmie.data.parsing import MalformedLine
from mmie.data.picture_names import decode_data_uri, describe_missing, from_foreign_path
from mmie.data.pictures import PictureError, load_picture
from mmie.data.post_json import parse_post


def post_with(image, folder):
    return parse_post(json.dumps({"text": "a", "image": image}), folder, "1")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("https://pbs.example.org/media/a.jpg", "missing: the name is an address"),
        ("s3://bucket/a.jpg", "missing: the name is an address"),
        ("C:\\Users\\ann\\7.jpg", "missing: the name is a path of Windows"),
        ("D:/photos/7.jpg", "missing: the name is a path of Windows"),
        ("\\\\server\\share\\7.jpg", "missing: the name is a path of Windows"),
        ("a.jpg;b.jpg", "missing: the name is that of 2 pictures"),
        ("a.jpg, b.PNG c.webp", "missing: the name is that of 3 pictures"),
        ("['a.jpg', 'b.jpg']", "missing: the name is that of 2 pictures"),
        ("['a.jpg']", "missing: the name is a list"),
        ("a.jpg", "missing"),
    ],
)
def test_a_name_without_a_file_is_called_what_it_is(tmp_path, name, reason):
    image = post_with(name, tmp_path).image
    with pytest.raises(PictureError, match=f"^{reason}"):
        load_picture(image)
    assert describe_missing(name).startswith(reason)


def test_paths_of_windows_and_file_uris_are_paths(tmp_path):
    picture = tmp_path / "images" / "a 7.jpg"
    picture.parent.mkdir()
    Image.new("RGB", (4, 4)).save(picture)
    assert post_with("images\\a 7.jpg", tmp_path).image == picture
    assert post_with(picture.as_uri(), tmp_path).image == picture
    assert load_picture(picture.as_uri()).size == (4, 4)
    literal = tmp_path / "b\\c.jpg"
    literal.touch()
    assert post_with("b\\c.jpg", tmp_path).image == literal
    for name in ("file:///etc/passwd", "..\\secret.jpg"):
        with pytest.raises(MalformedLine, match="leads out of"):
            post_with(name, tmp_path)
    assert from_foreign_path("file://host/a.jpg", tmp_path) == "file://host/a.jpg"


def test_other_forms_of_a_name_are_found(tmp_path):
    e_nfc, e_nfd = "\u00e9", "e\u0301"
    for name in ("a b.jpg", f"{e_nfd}.jpg", "c%20d.jpg", "c d.jpg"):
        (tmp_path / name).touch()
    (tmp_path.parent / "x.jpg").touch()
    assert from_foreign_path("a%20b.jpg", tmp_path) == "a b.jpg"
    assert from_foreign_path(f"{e_nfc}.jpg", tmp_path) == f"{e_nfd}.jpg"
    assert from_foreign_path("%C3%A9.jpg", tmp_path) == f"{e_nfd}.jpg"
    assert from_foreign_path("c%20d.jpg", tmp_path) == "c%20d.jpg"
    for name in ("x%20y.jpg", f"z{e_nfc}.jpg", "..%2Fx.jpg", "%2e%2e/x.jpg", "%2Fetc%2Fpasswd"):
        assert from_foreign_path(name, tmp_path) == name


def test_pictures_in_data_uris_are_read(tmp_path):
    picture = tmp_path / "a.png"
    Image.new("RGB", (3, 2)).save(picture)
    content = picture.read_bytes()
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    image = post_with(uri, tmp_path).image
    assert image.read_bytes() == content
    assert load_picture(uri).size == (3, 2)
    assert decode_data_uri("data:,a%20b") == b"a b"
    for damaged in ("data:image/png;base64,A", "data:nothing"):
        with pytest.raises(MalformedLine, match="expected a picture in a data: URI, found"):
            post_with(damaged, tmp_path)
        with pytest.raises(PictureError, match="a data: URI"):
            load_picture(damaged)
