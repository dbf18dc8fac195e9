"""Folders of the library ``datasets``: names of tags from features, splits, bad rows."""

import pytest
from helpers.formats import read, tagged

from mmie.formats import FormatError, recognise

WORDS = [["Ann", "in", "Rome"], ["nobody"], []]
TAGS = [[1, 0, 2], [0], [0]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved data set of two splits, the second with a row without words."""
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["O", "B-PER", "B-LOC"])
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(names),
            "url": datasets.Value("string"),
        }
    )
    splits = {}
    for split, count in (("train", 2), ("validation", 3)):
        columns = {"tokens": WORDS[:count], "ner_tags": TAGS[:count], "url": ["x"] * count}
        splits[split] = datasets.Dataset.from_dict(columns, features=features)
    folder = tmp_path_factory.mktemp("saved") / "set"
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    splits["train"].to_parquet(str(folder.parent / "parquet" / "train.parquet"))
    return folder


def test_several_pictures_of_a_row(tmp_path):
    datasets = pytest.importorskip("datasets")
    columns = {"text": ["a", "b"], "images": [["1.jpg", "2.jpg"], ["1.jpg"]]}
    datasets.Dataset.from_dict(columns).save_to_disk(str(tmp_path / "set"))
    (several, one), _, _ = read(tmp_path / "set", pictures=tmp_path)
    assert several["images"] == [tmp_path / "1.jpg", tmp_path / "2.jpg"]
    assert (one["image"], one.get("images")) == (tmp_path / "1.jpg", None)


def test_a_split_of_a_saved_data_set(saved):
    assert recognise(saved).name == "datasets"
    posts, bad, notes = read(saved, split="valid")
    assert [post["words"] for post in posts] == WORDS[:2]
    assert tagged(posts[0]) == [("Ann", "PER"), ("Rome", "LOC")]
    assert len(bad) == 1
    assert "row 2" in bad[0].place
    assert notes.found == ["split 'validation', one of 2"]
    assert notes.unused == {"columns 'url'": 2}


def test_splits_are_named(saved):
    with pytest.raises(FormatError, match="holds the splits train, valid: name one by --split"):
        read(saved)
    with pytest.raises(FormatError, match="expected one of train, valid for --split, found test"):
        read(saved, split="test")


def test_a_folder_of_parquet(saved):
    posts, bad, _ = read(saved.parent / "parquet", columns={"id": "url"})
    assert [post["id"] for post in posts] == ["x", "x#2"]
    assert bad == []


def test_a_damaged_folder_is_refused(tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(FormatError, match="expected a folder or file of Parquet"):
        read(tmp_path)
