"""MNRE: the real texts where they exist, every layout, and malformed lines."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers.corpora import mnre_line, published_corpus, write_file, write_mnre

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.mnre import MNRE, VERSION_2_LABELS
from mmie.types import Entity, Relation


@pytest.mark.slow
def test_counts_are_those_published():
    corpus = published_corpus(MNRE)
    posts = {split: corpus.posts(split) for split in corpus.splits}
    assert [len(posts[split]) for split in ("train", "valid", "test")] == [12247, 1624, 1614]
    assert [len({post.image for post in posts[split]}) for split in posts] == [7356, 931, 914]
    labels = Counter(relation.label for post in posts["train"] for relation in post.relations)
    assert labels["None"] == 7744
    assert corpus.relation_labels == VERSION_2_LABELS
    assert set(labels) == set(VERSION_2_LABELS)
    assert len(VERSION_2_LABELS) == 23
    assert VERSION_2_LABELS[0] == "None"
    assert corpus.tasks == ("re",)


@pytest.mark.parametrize("folder", ["", "txt"])
@pytest.mark.parametrize("start", ["mnre", "ours"])
@pytest.mark.parametrize("valid", ["val", "dev", "valid"])
def test_layouts(tmp_path, folder, start, valid):
    text = mnre_line() + mnre_line(
        img_id="b.png", h={"pos": (2, 4)}, t={"pos": [2, 3]}, relation="None"
    )
    write_file(tmp_path / folder / f"{start}_{valid}.txt", text.replace("\n", "\r\n"))
    torch.save({1: ["c.jpg"]}, tmp_path / folder / "mre_dev_dict.pth")
    write_file(
        tmp_path / folder / "ours_rel2id.json",
        json.dumps({"/per/loc/place_of_residence": 1, "None": 2, "x": 0}),
    )
    corpus = MNRE(tmp_path)
    first, second = corpus.posts("valid")
    residence = Relation(Entity(0, 1), Entity(2, 4), "/per/loc/place_of_residence")
    assert (first.id, first.words, first.relations) == (
        "0",
        ("Ann", "of", "New", "York"),
        (residence,),
    )
    assert first.image == tmp_path / "img_org" / "val" / "a.jpg"
    assert (first.crops, first.entities) == ((), ())
    assert second.crops == (tmp_path / "img_vg" / "val" / "crops" / "c.jpg",)
    assert second.relations == (Relation(Entity(2, 4), Entity(2, 3), "None"),)
    assert corpus.relation_labels == ("None", "x", "/per/loc/place_of_residence")


def test_labels_beyond_the_built_in_ones(tmp_path):
    corpus = write_mnre(tmp_path, mnre_line(relation="/z") + mnre_line(relation="/y"))
    assert corpus.relation_labels == (*VERSION_2_LABELS, "/y", "/z")


def test_ids_count_blank_lines(tmp_path):
    corpus = write_mnre(tmp_path, mnre_line() + "\n" + mnre_line())
    assert [post.id for post in corpus.posts("train")] == ["0", "2"]


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": 1}'])
def test_a_label_file_must_hold_ids(tmp_path, text):
    corpus = write_mnre(tmp_path, mnre_line())
    write_file(tmp_path / "ours_rel2id.json", text if text != '{"a": 1}' else '{"a": "1"}')
    with pytest.raises(CorpusError, match=r"ours_rel2id\.json: expected a JSON dictionary"):
        _ = corpus.relation_labels


@pytest.mark.parametrize(
    "line",
    [
        "__import__('os').mkdir('evil')\n",
        "{'token': [__import__('os').mkdir('evil')]}\n",
        "[1]\n",
        "{'token'\n",
        "(" * 5000 + "\n",
        "{'token': ['a'], 'h': {'pos': [0, 1]}, 't': {'pos': [0, 1]}, 'img_id': 'a.jpg'}\n",
        mnre_line(token=[]),
        mnre_line(token=["a", 2, "b", "c"]),
        mnre_line(token=["a", "", "b", "c"]),
        mnre_line(token=["a", "\ud800", "b", "c"]),
        mnre_line(token="abcd"),
        mnre_line(h={"pos": [1, 1]}),
        mnre_line(h={"pos": [2, 1]}),
        mnre_line(h={"pos": [-1, 1]}),
        mnre_line(t={"pos": [0, 5]}),
        mnre_line(t={"pos": [0, True]}),
        mnre_line(t={"pos": [0.0, 1]}),
        mnre_line(t={"pos": [0]}),
        mnre_line(t={"name": "x"}),
        mnre_line(t=None),
        mnre_line(relation=None),
        mnre_line(img_id=7),
        mnre_line(img_id=""),
        mnre_line(img_id="."),
        mnre_line(img_id="a\0.jpg"),
        mnre_line(img_id="../val/a.jpg"),
        mnre_line(img_id="/etc/a.jpg"),
    ],
)
def test_malformed_lines(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=r"ours_train\.txt:2: expected .*, found ") as error:
        write_mnre(tmp_path, mnre_line() + line).posts("train")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    assert not Path("evil").exists()
    lenient = write_mnre(tmp_path, mnre_line() + line + mnre_line(), strict=False)
    with pytest.warns(UserWarning, match="1 malformed posts skipped"):
        assert [post.id for post in lenient.posts("train")] == ["0", "2"]


@pytest.mark.parametrize("name", ["mnre_txt/mnre_val .txt", "mnre_txt/MNRE_dev.txt", "dev.txt"])
def test_layouts_of_other_distributions(tmp_path, name):
    write_file(tmp_path / name, mnre_line())
    corpus = MNRE(tmp_path)
    assert corpus.splits == ("valid",)
    assert corpus.text_file("valid") == tmp_path / name
    assert len(corpus.posts("valid")) == 1


def test_what_was_found_in_place_of_a_corpus_is_named(tmp_path):
    write_file(tmp_path / "readme.md", "")
    (tmp_path / "mn").mkdir()
    with pytest.raises(CorpusError, match=r"the folder holds 'mn/', 'readme\.md'$"):
        MNRE(tmp_path)
