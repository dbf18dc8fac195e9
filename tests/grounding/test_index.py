"""The index of crops and its published form."""

import pytest
import torch

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.crop_index import load_crop_index
from mmie.grounding.errors import GroundingError
from mmie.grounding.index import Crop, IndexEntry, from_pth, read_index, to_pth, write_index

ENTRIES = [
    IndexEntry(
        "0",
        "../images/a.jpg",
        ("red çar",),
        (Crop("a-1.jpg", (1, 2, 30, 40), "red çar", 0.5, "owlv2"),),
    ),
    IndexEntry("1", "../images/b.jpg"),
    IndexEntry("2", "../images/a.jpg", (), (Crop("a-2.jpg"), Crop("a-1.jpg"))),
]


def test_write_then_read(tmp_path):
    file = tmp_path / "new" / "index.jsonl"
    write_index(file, ENTRIES)
    assert read_index(file) == ENTRIES
    assert [path.name for path in file.parent.iterdir()] == ["index.jsonl"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("image", {"a.jpg": ["a-1.jpg", "a-2.jpg"]}),
        ("id", {0: ["a-1.jpg"], 2: ["a-2.jpg", "a-1.jpg"]}),
    ],
)
def test_published_form(tmp_path, key, expected):
    file = tmp_path / "dict.pth"
    to_pth(ENTRIES, file, key)
    assert torch.load(file, weights_only=True) == expected
    assert load_crop_index([file]) == {str(name): files for name, files in expected.items()}


@pytest.mark.parametrize(
    ("key", "published"),
    [
        ("image", {"a.jpg": ["x.jpg", "y.jpg"], "b.jpg": ["z.jpg"]}),
        ("id", {0: ["x.jpg"], 7: ["y"]}),
    ],
)
def test_published_form_survives_the_conversion_to_an_index(tmp_path, key, published):
    first, second, index = tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "index.jsonl"
    torch.save(published, first)
    write_index(index, from_pth(first, key))
    to_pth(read_index(index), second, key)
    assert torch.load(second, weights_only=True) == published


def test_conversion_to_the_other_key_is_refused(tmp_path):
    torch.save({"a.jpg": ["x.jpg"]}, tmp_path / "a.pth")
    with pytest.raises(GroundingError, match="has no id"):
        to_pth(from_pth(tmp_path / "a.pth", "image"), tmp_path / "b.pth", "id")


class PrintsWhenUnpickled:
    """Object whose pickle calls a function."""

    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize(
    "content", [PrintsWhenUnpickled(), [1], {"a.jpg": "x.jpg"}, {"a.jpg": [1]}]
)
def test_other_content_is_refused(tmp_path, content, capsys):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CorpusError, match="expected a dictionary"):
        from_pth(tmp_path / "a.pth", "image")
    assert capsys.readouterr().out == ""


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(GroundingError, match="no such file"):
        from_pth(tmp_path / "a.pth", "image")
    with pytest.raises(GroundingError, match="no file that can be read"):
        read_index(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "1",
        "{}",
        '{"id": "1"}',
        '{"id": "1", "image": "a", "crops": [{"box": null}]}',
        '{"id": "1", "image": "a", "crops": [{"file": "a", "box": [1, 2]}]}',
        '{"id": "1", "image": "a", "crops": [{"file": "a", "box": [1, 2, 3, 4.5]}]}',
        '{"id": "1", "image": "a", "crops": [{"file": "a", "score": "high"}]}',
        '{"id": "1", "image": "a", "crops": [{"file": 1}]}',
        '{"id": "1", "image": "a", "crops": ["a"]}',
        '{"id": "\\ud83d", "image": "a"}',
    ],
)
def test_malformed_line_is_refused_with_its_number(tmp_path, line):
    file = tmp_path / "index.jsonl"
    file.write_text('{"id": "0", "image": "a"}\n' + line, encoding="utf-8")
    with pytest.raises(GroundingError, match=r"index.jsonl:2: expected an entry"):
        read_index(file)
