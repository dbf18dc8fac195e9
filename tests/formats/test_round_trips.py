"""Posts that one format writes and reads again, and that another one is converted from."""

import itertools

import pytest
from helpers.formats import (
    ARGUMENTS,
    FOUND,
    PLAIN,
    RECORDS,
    SHORT,
    content,
    extras,
    write_and_read,
)

from mmie.formats.brat import Brat
from mmie.formats.docbin import DocBins
from mmie.formats.doccano import Doccano
from mmie.formats.json_lists import JsonLists
from mmie.formats.jsonl import JsonLines
from mmie.formats.label_studio import LabelStudio
from mmie.formats.parquet import Parquet
from mmie.formats.registry import recognise
from mmie.formats.tables import Tables

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


LABELS_ALONE = {
    "brat": (Brat(), [PLAIN, FOUND, SHORT]),
    "json": (JsonLists(), [PLAIN, FOUND, ARGUMENTS, SHORT]),
    "tables": (Tables(), RECORDS),
}
"""Formats that hold texts and labels, but not all keys, and records that they can hold."""


@pytest.mark.parametrize("keeping", FORMATS)
@pytest.mark.parametrize("other", LABELS_ALONE)
def test_labels_pass_through_other_formats(keeping, other, tmp_path):
    needed(keeping)
    form, records = LABELS_ALONE[other]
    suffix = ".csv" if other == "tables" else next(iter(form.suffixes), "")
    own, own_suffix = FORMATS[keeping], FORMATS[keeping].suffixes[0]
    read, _ = write_and_read(own, records, tmp_path / f"a{own_suffix}")
    read, _ = write_and_read(form, read, tmp_path / f"b{suffix}")
    read, _ = write_and_read(own, read, tmp_path / f"c{own_suffix}")
    assert list(map(content, read)) == list(map(content, records))


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_recognised_by_its_own_format_alone(name, tmp_path):
    needed(name)
    form = FORMATS[name]
    path = tmp_path / f"posts{form.suffixes[0]}"
    write_and_read(form, RECORDS, path)
    assert recognise(path).name == name
