"""Every suffix has its writer, writers are atomic, and CSV cells are no formulas."""

import csv
import json

import pytest
from helpers.extractions import make_extraction

from mmie.inference.formats.conversion import WRITERS, check_suffix, convert, write_csv
from mmie.inference.formats.text import FormatError, to_conll, to_json


@pytest.fixture
def json_lines(found, tmp_path):
    """The posts as `mmie extract` writes them."""
    file = tmp_path / "found.jsonl"
    lines = [json.dumps(to_json(post)) + "\n" for post in found]
    file.write_text("".join(lines), encoding="utf-8")
    return file


def test_json_lines_are_converted_to_every_format(json_lines, found, tmp_path):
    targets = [tmp_path / f"converted{suffix}" for suffix in WRITERS]
    convert(json_lines, targets)
    assert all(target.stat().st_size for target in targets)
    conll = (tmp_path / "converted.conll").read_text(encoding="utf-8")
    assert conll == "".join(map(to_conll, found))
    with (tmp_path / "converted.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["post"], row["head"], row["label"], row["tail"]) for row in rows[:2]] == [
        ("a", "Ann Lee", "lives in", "ROME"),
        ("a", "Ann", "lives in", "ROME"),
    ]
    assert len(rows) == sum(len(post.relations) for post in found)


def test_an_unknown_suffix_is_refused_before_anything_is_written(json_lines, tmp_path):
    with pytest.raises(FormatError, match=r"expected a name that ends in \.jsonl or in one of"):
        convert(json_lines, [tmp_path / "converted.csv", tmp_path / "converted.pdf"])
    assert not (tmp_path / "converted.csv").exists()
    with pytest.raises(FormatError):
        check_suffix(tmp_path / "converted")


def test_cells_that_a_spreadsheet_would_evaluate_get_an_apostrophe(tmp_path):
    entities = [("=1+1", "PER", 1.0), ("Rome", "LOC", 1.0)]
    write_csv([make_extraction("-1", entities, [(0, "@in", 1, 0.5)])], tmp_path / "triples.csv")
    with (tmp_path / "triples.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row == {
        "post": "'-1",
        "head": "'=1+1",
        "head_type": "PER",
        "label": "'@in",
        "tail": "Rome",
        "tail_type": "LOC",
        "probability": "0.5",
    }


@pytest.mark.parametrize("suffix", WRITERS)
def test_an_interrupted_writer_keeps_the_older_file(suffix, found, tmp_path):
    file = tmp_path / "new" / f"converted{suffix}"
    WRITERS[suffix](found, file)
    before = file.read_bytes()

    def broken():
        yield found[0]
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        WRITERS[suffix](broken(), file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    "text",
    [
        "\n=1",
        "\t1",
        "\r1",
        " =1",
        "\u200b=1",
        "\ufeff@a",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff20a",
    ],
)
def test_disguised_formulas_get_an_apostrophe(tmp_path, text):
    entities = [(text, "PER", 1.0), ("Rome", "LOC", 1.0)]
    write_csv([make_extraction("a", entities, [(0, "in", 1, 0.5)])], tmp_path / "triples.csv")
    with (tmp_path / "triples.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["head"] == f"'{text}"
    assert (row["post"], row["tail"]) == ("a", "Rome")


def test_the_source_is_never_written_over(json_lines, tmp_path):
    content = json_lines.read_bytes()
    for name in ("same.csv", "linked.csv"):
        target = tmp_path / name
        target.hardlink_to(json_lines) if name == "same.csv" else target.symlink_to(json_lines)
        with pytest.raises(FormatError, match="holds the extractions"):
            convert(json_lines, [target])
    assert json_lines.read_bytes() == content
