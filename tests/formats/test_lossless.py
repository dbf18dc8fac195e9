"""Formats that keep all keys of posts, alone and one after another."""

import itertools

import pytest
from helpers.labelled import FOUND, RECORDS, content, extras, write_and_read

from mmie.formats.docbin import DocBins
from mmie.formats.doccano import Doccano
from mmie.formats.jsonl import JsonLines
from mmie.formats.label_studio import LabelStudio
from mmie.formats.parquet import Parquet
from mmie.formats.registry import recognise

FORMATS = {
    form.name: form for form in (JsonLines(), Doccano(), LabelStudio(), DocBins(), Parquet())
}
PROBABILITIES = [0.75, 0.5, 0.25]


def probabilities(record):
    items = [*record["entities"], *record["relations"]]
    return [item.get("probability") for item in items]


def needed(*names):
    """Skip where a package of a format is missing."""
    if "docbin" in names:
        pytest.importorskip("spacy", reason="needs spaCy: mmie[spacy]")


@pytest.mark.parametrize("name", FORMATS)
def test_one_format_loses_nothing(name, tmp_path):
    needed(name)
    form = FORMATS[name]
    read, notes = write_and_read(form, RECORDS, tmp_path / f"posts{form.suffixes[0]}")
    assert list(map(content, read)) == list(map(content, RECORDS))
    assert list(map(extras, read)) == list(map(extras, RECORDS))
    if name == "doccano":
        assert notes.unused == {"probabilities that the format cannot hold": 3}
    else:
        assert probabilities(read[RECORDS.index(FOUND)]) == PROBABILITIES


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(FORMATS, 2)))
def test_two_formats_lose_nothing(first, second, tmp_path):
    needed(first, second)
    read = RECORDS
    for name in (first, second):
        form = FORMATS[name]
        read, _ = write_and_read(form, read, tmp_path / f"{name}{form.suffixes[0]}")
    assert list(map(content, read)) == list(map(content, RECORDS))
    assert list(map(extras, read)) == list(map(extras, RECORDS))


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_recognised_by_its_own_format_alone(name, tmp_path):
    needed(name)
    form = FORMATS[name]
    path = tmp_path / f"posts{form.suffixes[0]}"
    write_and_read(form, RECORDS, path)
    assert recognise(path).name == name
