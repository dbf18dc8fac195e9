"""Parquet files of this package and of others."""

import pytest
from helpers.labelled import EMOJI, FOUND, PLAIN, RECORDS, SPLIT, write_and_read
from helpers.serving import picture_bytes

from mmie.data import DatasetCorpus
from mmie.data.sources import BadPost
from mmie.formats.base import FormatError, Notes, ReadOptions
from mmie.formats.parquet import Parquet
from mmie.types import Entity

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: mmie[datasets]")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: mmie[datasets]")


def read(file, **options):
    notes = Notes()
    return list(Parquet().read(file, ReadOptions(**options), notes)), notes


def test_a_corpus_trains_from_what_is_written(tmp_path):
    write_and_read(Parquet(), RECORDS, tmp_path / "train.parquet")
    posts = DatasetCorpus(tmp_path, max_missing=1.0).posts("train")
    assert [post.id for post in posts] == ["a", "b", "c", "d", "e", "f", "g"]
    assert posts[0].words == ("😂", "Ann", "'", "s", "#", "Rome", "trip")
    assert posts[0].entities == (Entity(1, 2, "PER"), Entity(5, 6, "LOC"))
    assert posts[0].image == tmp_path / "images/a b.jpg"
    assert posts[2].words == ("😂", "Don't", "U.S.")
    assert len(posts[3].relations) == 1
    assert posts[6].images == (tmp_path / "images/a b.jpg", tmp_path / "images/c.png")


def test_texts_are_written_if_no_post_has_words(tmp_path):
    file = tmp_path / "posts.parquet"
    _, notes = write_and_read(Parquet(), [FOUND, PLAIN], file)
    assert "words" not in parquet.read_schema(file).names
    assert notes.unused == {}
    _, notes = write_and_read(Parquet(), [FOUND, SPLIT], file)
    assert "text" not in parquet.read_schema(file).names
    assert notes.unused == {"texts beside the words that are written": 1}


def test_columns_of_values_without_a_common_type_are_json(tmp_path):
    file = tmp_path / "posts.parquet"
    records = [{"id": "a", "text": "a", "x": 1}, {"id": "b", "text": "b", "x": {"y": [1, "z"]}}]
    read_again, _ = write_and_read(Parquet(), records, file)
    assert [record["x"] for record in read_again] == [1, {"y": [1, "z"]}]


def test_tags_and_pictures_as_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path / "cache"))
    table = pa.table(
        {
            "tokens": [["Ann", "left"], ["Bob"], ["Bob"]],
            "ner_tags": [[1, 0], [0, 0], [7]],
            "image": [{"bytes": picture_bytes(), "path": None}, None, None],
        }
    )
    parquet.write_table(table, tmp_path / "posts.parquet")
    (good, short, unnamed), _ = read(tmp_path / "posts.parquet", tag_names=("O", "B-PER"))
    assert good["entities"] == [{"start": 0, "end": 1, "type": "PER"}]
    assert good["image"].read_bytes() == picture_bytes()
    assert isinstance(short, BadPost)
    assert (short.place, short.reason) == ("row 2", "expected 1 tags, found 2")
    assert "an id from 0 to 1" in unnamed.reason


def test_several_pictures_as_bytes_and_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path / "cache"))
    pictures = [{"bytes": picture_bytes(), "path": None}, {"bytes": None, "path": None}]
    columns = {"text": ["a", "b"], "images": [pictures, None], "image": [["a.jpg", "b.jpg"], []]}
    parquet.write_table(pa.table(columns), tmp_path / "posts.parquet")
    (first, second), _ = read(tmp_path / "posts.parquet")
    assert first["images"][:2] == ["a.jpg", "b.jpg"]
    assert [file.read_bytes() for file in first["images"][2:]] == [picture_bytes()]
    assert {"image", "images"}.isdisjoint(second)


def test_files_that_are_refused(tmp_path):
    file = tmp_path / "posts.parquet"
    file.write_bytes(b"PAR1")
    with pytest.raises(FormatError, match=r"posts\.parquet: "):
        read(file)
    parquet.write_table(pa.table({"url": ["u"]}), file)
    with pytest.raises(FormatError, match="expected a column 'words', 'tokens' or 'text'"):
        read(file)
    parquet.write_table(pa.table({"text": ["a"], "post": ["b"]}), file)
    (record,), _ = read(file, columns={"text": "post"})
    assert record["text"] == "b"


def test_files_are_recognised_by_their_content(tmp_path):
    file = tmp_path / "posts"
    assert not Parquet().recognises(tmp_path, "")
    file.write_bytes(b"PAR1....")
    assert Parquet().recognises(file, "")
    file.write_bytes(b"text")
    assert not Parquet().recognises(file, "")


def test_keys_of_posts_are_columns(tmp_path):
    file = tmp_path / "posts.parquet"
    write_and_read(Parquet(), [EMOJI], file)
    assert {"url", "likes", "context", "crops"} <= set(parquet.read_schema(file).names)


@pytest.mark.parametrize("column", ["entities", "relations", "images", "crops"])
def test_a_list_that_is_no_json_is_named(tmp_path, column):
    table = pa.table({"text": ["Ann", "Bob"], column: ["[{", "[]"]})
    parquet.write_table(table, tmp_path / "posts.parquet")
    (bad, good), _ = read(tmp_path / "posts.parquet")
    assert isinstance(bad, BadPost)
    assert f"'{column}' to be a list or its JSON, found" in bad.reason
    assert good["text"] == "Bob"
