"""JPEG files without their last bytes."""

import io
import re

import pytest
from PIL import Image
from skimage.data import astronaut

from mmie.data.jpeg_end import complete_jpeg
from mmie.data.picture_audit import audit_pictures
from mmie.data.pictures import load_picture

OPTIONS = [
    {},
    {"progressive": True},
    {"restart_marker_rows": 1},
    {"quality": 95, "subsampling": 0},
]


def encode(**options):
    stream = io.BytesIO()
    Image.fromarray(astronaut()[::8, ::8]).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("options", OPTIONS)
def test_only_the_end_marker_may_be_missing(options):
    content = encode(**options)
    whole = load_picture(content)
    for missing in (1, 2):
        assert complete_jpeg(content[:-missing]).tobytes() == whole.tobytes()
        assert load_picture(content[:-missing]).tobytes() == whole.tobytes()
    for missing in (3, 4, 8, 16, 64, 256):
        assert complete_jpeg(content[:-missing]) is None


def test_cuts_at_markers_are_found():
    """Where an interval or a scan ends, all that is there is whole."""
    for options, marker in ((OPTIONS[1], rb"\xff\xda"), (OPTIONS[2], rb"\xff[\xd0-\xd7]")):
        content = encode(**options)
        cuts = [match.start() for match in re.finditer(marker, content)]
        assert len(cuts) > 2
        assert [complete_jpeg(content[:cut]) for cut in cuts] == [None] * len(cuts)


def test_the_audit_refuses_them_if_strict(tmp_path):
    file, cut = tmp_path / "a.jpg", tmp_path / "b.jpg"
    file.write_bytes(encode()[:-2])
    cut.write_bytes(encode()[:-40])
    for _ in range(2):  # remembered the second time
        assert audit_pictures([file, cut]) == {cut: "truncated"}
        refused = audit_pictures([file, cut], strict=True)
        assert refused[file].startswith("truncated: the last bytes are missing")
