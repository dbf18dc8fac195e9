"""Small copies of pictures."""

import base64
import io

from PIL import Image

from mmie.reports.pictures import picture_data_uri, small_picture


def test_pictures_are_shrunk_by_their_longest_side(tmp_path):
    Image.new("RGB", (1000, 500)).save(tmp_path / "wide.png")
    assert small_picture(tmp_path / "wide.png", 100).size == (100, 50)
    assert max(small_picture(str(tmp_path / "wide.png")).size) < 400


def test_pictures_become_data_uris(tmp_path):
    Image.new("RGB", (100, 50), "red").save(tmp_path / "a.png")
    data = picture_data_uri(tmp_path / "a.png", 40).removeprefix("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (40, 20)


def test_unreadable_pictures_are_none(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for path in (None, tmp_path / "absent.png", tmp_path / "broken.png"):
        assert small_picture(path) is None
        assert picture_data_uri(path, 40) is None
