"""Layouts of crops: paths, protection of other files, and posts that are written."""

import json
import os

import pytest
from helpers.faults import write_abandoned

from mmie.data import MNRE, JsonlCorpus, Twitter2017
from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.card import write_card
from mmie.grounding.errors import GroundingError
from mmie.grounding.ground import Grounding
from mmie.grounding.index import Crop, IndexEntry, read_index
from mmie.grounding.layouts import Layout, corpus_layout, posts_layout, read_posts, write_posts
from mmie.types import Post


@pytest.fixture
def twitter(tmp_path):
    root = tmp_path / "twitter2017"
    root.mkdir()
    (root / "valid.txt").write_text("IMGID:7\nFalcon\tB-MISC\n", encoding="utf-8")
    return Twitter2017(root)


@pytest.fixture
def mnre(tmp_path):
    root = tmp_path / "mnre"
    root.mkdir()
    head, tail = {"name": "a", "pos": [0, 1]}, {"name": "b", "pos": [1, 2]}
    line = {"token": ["a", "b"], "h": head, "t": tail, "img_id": "x.jpg", "relation": "None"}
    (root / "mnre_val.txt").write_text(str(line), encoding="utf-8")
    return MNRE(root)


def test_layout_of_twitter(twitter):
    root = twitter.root
    assert corpus_layout(twitter, "valid") == Layout(
        root / "twitter2017_aux_images" / "val" / "crops",
        root / "twitter2017_val_dict.jsonl",
        root / "twitter2017_val_dict.pth",
        "image",
    )


def test_layout_of_mnre_in_another_folder(mnre, tmp_path):
    assert corpus_layout(mnre, "valid", tmp_path) == Layout(
        tmp_path / "img_vg" / "val" / "crops",
        tmp_path / "mre_dev_dict.jsonl",
        tmp_path / "mre_dev_dict.pth",
        "id",
    )


def test_what_a_killed_process_left_is_removed_from_all_folders(twitter, tmp_path):
    own, published = posts_layout(tmp_path / "out", "train"), corpus_layout(twitter, "valid")
    image = own.posts.parent / "images" / "a.jpg"
    files = [own.posts, own.index, own.crops / "a.jpg", image]
    files += [published.index, published.published, published.crops / "a.jpg"]
    abandoned = [write_abandoned(file) for file in files]
    own.posts.write_text("{}")
    own.remove_stale_partials()
    published.remove_stale_partials()
    assert not any(file.exists() for file in abandoned)
    assert own.posts.read_text() == "{}"


def test_own_layout_needs_a_folder(demo_root, tmp_path):
    corpus = JsonlCorpus(demo_root)
    with pytest.raises(GroundingError, match="name the folder"):
        corpus_layout(corpus, "train")
    layout = corpus_layout(corpus, "train", tmp_path)
    assert layout == posts_layout(tmp_path, "train")
    assert layout.posts == tmp_path / "train.jsonl"


def test_the_card_of_a_corpus_stays_beside_its_posts(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "train.jsonl").write_text('{"id": "1", "words": ["a"]}\n')
    write_card(tmp_path / "own", "no score", {})
    corpus = JsonlCorpus(tmp_path / "own")
    corpus_layout(corpus, "train", tmp_path / "out").write(Grounding(corpus.posts("train")))
    assert JsonlCorpus(tmp_path / "out").note == "no score"


def test_source_is_not_replaced_even_with_overwrite(tmp_path):
    layout = posts_layout(tmp_path, "posts")
    with pytest.raises(GroundingError, match="would be written over"):
        layout.check(tmp_path / "posts.jsonl", overwrite=True)


def test_files_of_other_origin_are_replaced_only_with_overwrite(tmp_path):
    layout = posts_layout(tmp_path, "posts")
    source = tmp_path / "source.csv"
    layout.check(source, overwrite=False)
    layout.posts.write_text("other")
    with pytest.raises(GroundingError, match="was not written by mmie ground"):
        layout.check(source, overwrite=False)
    layout.check(source, overwrite=True)
    layout.index.parent.mkdir()
    layout.index.write_text("")
    layout.check(source, overwrite=False)


def test_write_makes_pictures_relative_to_the_index(tmp_path):
    layout = posts_layout(tmp_path, "posts")
    entry = IndexEntry("0", str(tmp_path / "images" / "a.jpg"), ("x",), (Crop("a-1.jpg"),))
    layout.write(Grounding(posts=[Post("0", ("x",))], entries=[entry]))
    (written,) = read_index(layout.index)
    assert written.image == "../images/a.jpg"
    assert json.loads(layout.posts.read_text(encoding="utf-8"))["id"] == "0"


def test_written_posts_name_only_readable_pictures_inside_the_folder(photographs, tmp_path):
    folder = tmp_path / "posts"
    folder.mkdir()
    inside = folder / "inside.png"
    inside.write_bytes(photographs["coffee"].read_bytes())
    missing = tmp_path / "missing.png"
    posts = [
        Post("inside", ("a",), inside),
        Post("outside", ("b",), photographs["rocket"]),
        Post("unreadable", ("c",), missing),
        Post("no words", (), inside),
    ]
    write_posts(folder / "posts.jsonl", posts, {missing})
    lines = (folder / "posts.jsonl").read_text(encoding="utf-8").splitlines()
    images = {record["id"]: record.get("image") for record in map(json.loads, lines)}
    assert images["inside"] == "inside.png"
    assert images["outside"].startswith("images/")
    assert (folder / images["outside"]).read_bytes() == photographs["rocket"].read_bytes()
    assert images["unreadable"] is None
    assert "no words" not in images


def test_link_that_leads_out_of_the_folder_is_replaced(photographs, tmp_path):
    folder = tmp_path / "posts"
    folder.mkdir()
    link = folder / "link.png"
    os.symlink(photographs["rocket"], link)
    write_posts(folder / "posts.jsonl", [Post("0", ("a",), link)], set())
    record = json.loads((folder / "posts.jsonl").read_text(encoding="utf-8"))
    assert record["image"].startswith("images/")


def test_malformed_post_is_an_error_with_its_place(tmp_path):
    file = tmp_path / "posts.jsonl"
    file.write_text('{"text": "Ann"}\n{"text": 1}\n', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"posts\.jsonl:.*2"):
        read_posts(file)
