"""Counts of published and of own corpora."""

import json

import pytest
from helpers.corpora import post_record, published_corpus, render, write_own_corpus

from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.statistics import corpus_stats, render_stats
from mmie.data.corpora.twitter import Twitter2015
from mmie.types import SPLITS


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_published_texts_without_pictures():
    stats = corpus_stats(published_corpus(Twitter2015))
    train = stats["splits"]["train"]
    assert train["entities"] == {"PER": 2285, "LOC": 2135, "ORG": 957, "MISC": 975}
    assert train["b_tags"] == {"PER": 2217, "LOC": 2091, "ORG": 927, "MISC": 931}
    assert stats["splits"]["test"]["entities"] == {
        "PER": 1873,
        "LOC": 1720,
        "ORG": 860,
        "MISC": 754,
    }
    assert (train["pictures"], train["pictures_readable"], train["posts_without_picture"]) == (
        4000,
        0,
        4000,
    )
    assert "975 (931 B-)" in render(render_stats(stats))


@pytest.mark.slow
def test_mnre():
    splits = corpus_stats(published_corpus(MNRE))["splits"]
    assert [splits[split]["posts"] for split in SPLITS] == [12247, 1624, 1614]
    assert [splits[split]["pictures"] for split in SPLITS] == [7356, 931, 914]
    assert splits["train"]["relations"]["None"] == 7744
    assert len(splits["test"]["relations"]) == 23
    assert splits["test"]["relations"]["/per/misc/race"] == 0


def test_own_posts(tmp_path):
    relation = {"head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}, "label": "at"}
    records = [
        post_record(0, "train", relations=[relation, relation]),
        post_record(1, "train", image="train0.png"),
    ]
    records += [post_record(2, "train", image=None), post_record(3, "train", entities=[])]
    corpus = write_own_corpus(tmp_path / "own", train=records)
    (tmp_path / "own" / "train3.png").unlink()
    stats = corpus_stats(corpus)
    assert json.loads(json.dumps(stats)) == stats
    assert stats["splits"] == {
        "train": {
            "posts": 4,
            "words": 8,
            "entities": {"PER": 3},
            "b_tags": {"PER": 3},
            "relations": {"None": 0, "at": 2},
            "pictures": 2,
            "pictures_readable": 1,
            "posts_without_picture": 2,
        }
    }
    assert "at relations" in render(render_stats(stats))
