"""The base class of corpora: splits, reading, skipped lines."""

import pytest
from helpers.corpora import TWEETS, write_file, write_twitter

from mmie.data.corpora import base
from mmie.data.corpora.base import CorpusError, count_entity_types, count_relation_labels
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2015
from mmie.types import Entity, Post, Relation


def test_missing_folders_and_splits_are_named(tmp_path):
    with pytest.raises(CorpusError, match="nowhere: expected the folder of twitter2015"):
        Twitter2015(tmp_path / "nowhere")
    with pytest.raises(
        CorpusError, match=r"train\.txt, valid\.txt, .*test\.txt; the folder holds nothing"
    ):
        Twitter2015(tmp_path)
    with pytest.raises(CorpusError, match=r"expected the valid split, found none of valid\.txt"):
        write_twitter(tmp_path).posts("valid")
    with pytest.raises(
        CorpusError, match=r"txt/mnre_train.txt.*mnre_dev.txt.*; the folder holds 'root/'"
    ):
        MNRE(tmp_path)


def test_only_existing_splits_are_listed(tmp_path):
    corpus = write_twitter(tmp_path)
    write_file(tmp_path / "root" / "test.txt", TWEETS)
    assert corpus.splits == ("train", "test")
    assert corpus.text_file("test") == tmp_path / "root" / "test.txt"


def test_skipped_lines_are_listed_in_one_warning(tmp_path):
    corpus = write_twitter(tmp_path, "".join(f"IMGID:{n}\nbad\n\n" for n in range(5)), strict=False)
    with pytest.warns(UserWarning, match="5 malformed posts skipped") as warnings:
        assert corpus.posts("train") == []
    (message,) = [str(warning.message) for warning in warnings]
    assert message.count("expected word<TAB>tag") == 3
    assert message.endswith("... and 2 more")
    assert [line.split(":")[1] for line in corpus.skipped["train"]] == ["2", "5", "8", "11", "14"]


def test_a_text_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    corpus = write_twitter(tmp_path)
    file = tmp_path / "root" / "train.txt"
    monkeypatch.setattr(base, "read_lines", lambda file: file.joinpath("x").read_text())
    with pytest.raises(CorpusError, match="expected a text that can be read, found") as error:
        corpus.posts("train")
    assert str(error.value).startswith(f"{file}: ")


def test_home_folders_are_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_twitter(tmp_path)
    assert Twitter2015("~/root").root == tmp_path / "root"


def test_types_and_labels_are_counted():
    first, second = Entity(0, 1, "PER"), Entity(1, 2, "LOC")
    relations = (Relation(first, second, "/x"), Relation(second, first, "None"))
    posts = [Post("a", ("a", "b"), entities=(first, second), relations=relations)] * 2
    posts.append(Post("b", ("a",), entities=(first,)))
    assert count_entity_types(posts) == {"PER": 3, "LOC": 2}
    assert count_relation_labels(posts) == {"/x": 2, "None": 2}
