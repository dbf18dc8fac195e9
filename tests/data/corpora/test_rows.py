"""Rows of tables: columns by name, labels in every form, and malformed rows."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.digest import digest_posts
from mmie.data.corpora.frame import FrameCorpus
from mmie.data.corpora.rows import find_splits
from mmie.types import Entity, Relation

ENTITIES = [{"start": 0, "end": 1, "type": "PER"}]
RELATIONS = [{"head": {"start": 0, "end": 1}, "tail": {"start": 2, "end": 3}, "label": "/per/at"}]


def png(colour="red", size=(8, 8)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def read(cells, **options):
    """Return the training posts of a frame."""
    return FrameCorpus({"train": pd.DataFrame(cells)}, **options).posts("train")


@pytest.mark.parametrize("name", ["words", "tokens"])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ner_tags", ["B-PER", "O", "I-LOC"]),
        ("tags", np.array(["S-PER", "O", "B-LOC"])),
        ("bio", ("B-PER", "O", "B-LOC")),
        ("entities", [*ENTITIES, {"start": 2, "end": 3, "type": "LOC"}]),
        ("entities", json.dumps([*ENTITIES, {"start": 2, "end": 3, "type": "LOC"}])),
        ("entities", {"start": [0, 2], "end": [1, 3], "type": ["PER", "LOC"]}),
    ],
)
def test_entities_are_read_in_every_form(name, column, value):
    (post,) = read({name: [["Ann", "in", "Rome"]], column: [value]})
    assert post.words == ("Ann", "in", "Rome")
    assert post.entities == (Entity(0, 1, "PER"), Entity(2, 3, "LOC"))


def test_ids_of_tags_are_named():
    (post,) = read(
        {"tokens": [["Ann", "x"]], "ner_tags": [np.array([1, 0])]}, tag_names=["O", "B-PER"]
    )
    assert post.entities == (Entity(0, 1, "PER"),)


def test_all_columns_of_a_text():
    (post,) = read(
        {
            "id": [7],
            "text": ["Ann in Rome"],
            "entities": [[{"start": 0, "end": 3, "type": "PER"}]],
            "relations": [
                [{"head": {"start": 0, "end": 3}, "tail": {"start": 7, "end": 11}, "label": "at"}]
            ],
            "caption": ["a woman"],
        }
    )
    ann, rome = Entity(0, 1, "PER"), Entity(2, 3, "")
    assert (post.id, post.text, post.context) == ("7", "Ann in Rome", "a woman")
    assert post.relations == (Relation(ann, rome, "at"),)


def test_missing_cells_are_absent():
    columns = {
        "text": ["Ann", "Bo"],
        "entities": [None, ENTITIES],
        "image": [float("nan"), pd.NA],
        "context": [None, "a jet"],
    }
    columns["entities"][1] = [{"start": 0, "end": 2, "type": "PER"}]
    ann, bo = read(columns)
    assert (ann.entities, ann.image, ann.context) == ((), None, None)
    assert (bo.entities, bo.context) == ((Entity(0, 1, "PER"),), "a jet")


def test_pictures_in_all_forms_are_one_file_with_their_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    values = [
        png(),
        {"bytes": png(), "path": "elsewhere/a.png"},
        {"bytes": None, "path": "a.png"},
        "a.png",
        str(tmp_path / "a.png"),
        {"bytes": None, "path": None},
    ]
    posts = read({"text": ["x"] * 6, "image": values, "crops": [[png("blue")]] * 6}, root=tmp_path)
    given, wrapped, *paths, absent = [post.image for post in posts]
    assert given == wrapped
    assert given.read_bytes() == png()
    assert given.name == given.resolve().name != "a.png"
    assert [path.read_bytes() for path in paths] == [png()] * 3
    assert absent is None
    assert posts[0].crops[0].read_bytes() == png("blue")


def test_pictures_in_memory_keep_their_pixels():
    pixels = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    posts = read({"text": ["x", "y"], "image": [Image.fromarray(pixels), pixels]})
    assert posts[0].image == posts[1].image
    np.testing.assert_array_equal(np.asarray(Image.open(posts[0].image)), pixels)


def test_a_digest_does_not_depend_on_where_bytes_are_kept(tmp_path, monkeypatch):
    digests = set()
    for cache in ("one", "deeper/two"):
        monkeypatch.setenv("MMIE_CACHE", str(tmp_path / cache))
        posts = read({"text": ["x"], "image": [png()]})
        assert posts[0].image.is_relative_to(tmp_path / cache)
        digests.add(digest_posts(posts, tmp_path))
    assert len(digests) == 1
    assert digest_posts(read({"text": ["x"], "image": [png("blue")]}), tmp_path) not in digests


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ({"ner_tags": ["O"]}, "a list of 3 tags, found"),
        ({"ner_tags": ["O", "O", 5]}, "tag_names, found 5"),
        ({"ner_tags": ["O", "O", "PER"]}, "a tag such as"),
        ({"entities": [{"start": 0, "end": 4, "type": "PER"}]}, "end 4"),
        ({"entities": "[{"}, "'entities' to be a list or its JSON"),
        ({"relations": 5}, "'relations'"),
        ({"image": 5}, "a picture: a path, bytes"),
        ({"image": "../x.jpg"}, "leads out of"),
        ({"image": np.zeros((3, 3))}, "an array of float64"),
        ({"crops": "a.jpg"}, "'crops'"),
        ({"words": ["Ann", None, "x"]}, "None as word 1"),
        ({"id": 1.5}, "'id'"),
    ],
)
def test_a_malformed_row_is_named_or_skipped(cells, found):
    rows = {"id": "a", "words": ["Ann", "in", "Rome"], **cells}
    frame = pd.DataFrame([{**rows}, {"id": "b", "words": ["x", "y", "z"]}], index=[3, 9])
    with pytest.raises(CorpusError, match=r"^news train, row 3: expected ") as caught:
        FrameCorpus({"train": frame}, name="news").posts("train")
    assert found in str(caught.value)
    lenient = FrameCorpus({"train": frame}, name="news", strict=False)
    with pytest.warns(UserWarning, match="news train: 1 malformed posts skipped: news train, row"):
        posts = lenient.posts("train")
    assert [post.id for post in posts] == ["b"]
    assert len(lenient.skipped["train"]) == 1


def test_columns_are_chosen_left_out_and_reported():
    columns = {"toks": [["Ann"]], "ner_tags": [["O"]], "entities": [ENTITIES], "url": ["u"]}
    with pytest.raises(CorpusError, match=r"'words', 'tokens' or 'text'.*'toks', 'ner_tags'"):
        read(columns)
    chosen = {"words": "toks"}
    with pytest.raises(CorpusError, match="'ner_tags' and 'entities' both hold entities"):
        read(columns, columns=chosen)
    with pytest.warns(UserWarning, match="columns ignored: 'ner_tags', 'url'"):
        (post,) = read(columns, columns={**chosen, "tags": None})
    assert post.entities == (Entity(0, 1, "PER"),)
    with pytest.raises(CorpusError, match="expected the column 'wurds', found 'toks'"):
        read(columns, columns={"words": "wurds"})
    with pytest.raises(CorpusError, match=r"columns names 'wordz': expected parts of a post, id"):
        read(columns, columns={"wordz": "toks"})


def test_splits_are_found_by_their_names():
    assert find_splits(["dev", "train", "extra"], None, "x") == {"train": "train", "valid": "dev"}
    assert find_splits(["a", "b"], {"test": "b", "train": "a"}, "x") == {"train": "a", "test": "b"}
    with pytest.raises(CorpusError, match="x: validation and dev are both valid"):
        find_splits(["dev", "validation"], None, "x")
    with pytest.raises(CorpusError, match="x: expected a split such as train, found 'a'"):
        find_splits(["a"], None, "x")
    for chosen in ({"train": "b"}, {"training": "a"}):
        with pytest.raises(CorpusError, match="splits gives"):
            find_splits(["a"], chosen, "x")


@pytest.mark.parametrize("column", ["image", "images", "pictures"])
def test_several_pictures(column, tmp_path):
    values = [
        ["a.png", png()],
        np.array(["a.png", {"bytes": png(), "path": None}], dtype=object),
        {"bytes": [png(), png("blue")], "path": [None, None]} if column != "image" else ["b.png"],
        None,
    ]
    posts = read({"text": ["x"] * 4, column: values}, root=tmp_path)
    first, second, third, absent = posts
    assert first.images == second.images
    assert first.image == tmp_path / "a.png"
    assert first.more_images[0].read_bytes() == png()
    assert len(third.images) == (1 if column == "image" else 2)
    assert absent.images == ()


def test_the_picture_comes_before_the_pictures_and_counts_once(tmp_path):
    cells = {"text": ["x"], "image": ["b.png"], "images": ['["a.png", "b.png", "c.png"]']}
    (post,) = read(cells, root=tmp_path)
    assert post.images == tuple(tmp_path / f"{name}.png" for name in "bac")
    assert digest_posts([post], tmp_path) != digest_posts(read({"text": ["x"]}), tmp_path)
    with pytest.raises(CorpusError, match="'images' to be a list of pictures, found 5"):
        read({"text": ["x"], "images": [5]})
