"""Pictures that are given as bytes: one file for each content."""

import io

from PIL import Image

from mmie.data.embedded import embedded_folder, is_embedded, keep_picture
from mmie.data.picture_audit import audit_pictures, picture_digests
from mmie.utils.files import digest_file


def test_the_file_is_named_by_its_content_and_written_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path))
    file = keep_picture(b"some bytes")
    assert file.name == digest_file(file)
    assert is_embedded(file)
    assert not is_embedded(tmp_path / file.name)
    written = file.stat().st_mtime_ns
    assert keep_picture(b"some bytes") == file
    assert file.stat().st_mtime_ns == written
    file.write_bytes(b"half")
    assert keep_picture(b"some bytes").read_bytes() == b"some bytes"
    assert [path for path in embedded_folder().rglob("*") if path.is_file()] == [file]


def test_the_audit_treats_the_file_as_any_other():
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(stream, "JPEG")
    content = stream.getvalue()
    sound, damaged = keep_picture(content), keep_picture(content[:-30])
    assert audit_pictures([sound, damaged]) == {damaged: "truncated"}
    assert picture_digests([sound], 10**6) == {sound: sound.name}
    assert audit_pictures([sound], max_pixels=3) == {sound: "more than 3 pixels"}


def test_without_a_cache_folder_no_picture_is_embedded(tmp_path, monkeypatch):
    monkeypatch.delenv("MMIE_CACHE")
    monkeypatch.setattr("pathlib.Path.home", _no_home)
    assert not is_embedded(tmp_path)


def _no_home():
    raise RuntimeError("no home folder")
