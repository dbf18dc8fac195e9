"""The package's own JSON lines as a format: encodings, and lines that are no posts."""

import pytest

from mmie.data.sources import BadPost
from mmie.formats.base import Notes, ReadOptions
from mmie.formats.jsonl import JsonLines
from mmie.formats.registry import recognise

LINES = '{"id": "a", "text": "Zoë"}\n\n{"text": "Ann"}\n'


def read(file):
    return list(JsonLines().read(file, ReadOptions(), Notes()))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_all_encodings_of_unicode_are_recognised_and_read(tmp_path, encoding):
    file = tmp_path / "posts.jsonl"
    file.write_bytes(LINES.encode(encoding))
    assert recognise(file).name == "jsonl"
    assert read(file) == [{"id": "a", "text": "Zoë"}, {"id": "3", "text": "Ann"}]


def test_lines_that_are_no_posts_are_named(tmp_path):
    file = tmp_path / "posts.jsonl"
    file.write_bytes(b'{"text": "Zo\xeb"}\n[]\n{"text": "Ann"}\n')
    encoding, kind, good = read(file)
    assert isinstance(encoding, BadPost)
    assert encoding.reason.startswith("expected UTF-8 text, found the byte 0xeb at byte 13")
    assert isinstance(kind, BadPost)
    assert kind.place == "line 2"
    assert good["id"] == "3"
