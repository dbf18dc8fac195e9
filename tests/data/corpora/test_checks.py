"""The check of a corpus and its report."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.corpora import post_record, render, write_own_corpus

from mmie.data.corpora import editions
from mmie.data.corpora.checks import check_corpus, render_report
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.types import SPLITS


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def complete_corpus(tmp_path):
    return write_own_corpus(
        tmp_path / "own", **{split: [post_record(i, split) for i in range(3)] for split in SPLITS}
    )


def test_a_complete_corpus_is_ok(complete_corpus):
    report = check_corpus(complete_corpus)
    assert report.ok
    assert report.edition == editions.OWN_LAYOUT
    assert (report.pictures, report.crops, report.placeholders, report.shared_posts) == (
        9,
        0,
        [],
        [],
    )
    assert render(render_report(report)).rstrip().endswith("ok")
    assert report.to_dict()["ok"] is True


def test_missing_and_broken_files_are_named(complete_corpus):
    (complete_corpus.root / "train0.png").unlink()
    (complete_corpus.root / "valid1.png").write_bytes(b"junk")
    report = check_corpus(complete_corpus, max_pixels=1000)
    missing, broken = (
        str(complete_corpus.root / "train0.png"),
        str(complete_corpus.root / "valid1.png"),
    )
    assert report.unreadable_pictures == {missing: "missing", broken: "not a picture"}
    assert not report.ok
    assert (
        json.loads(json.dumps(report.to_dict()))["unreadable_pictures"][broken] == "not a picture"
    )
    text = render(render_report(report))
    assert "2 of 9 pictures unreadable (1 missing, 1 not a picture)" in text
    assert "something is missing or broken" in text


def test_missing_crops_are_named(tmp_path):
    corpus = write_own_corpus(
        tmp_path / "own",
        **{split: [post_record(0, split, crops=[f"{split}c.png"])] for split in SPLITS},
    )
    assert check_corpus(corpus).ok
    (corpus.root / "testc.png").unlink()
    report = check_corpus(corpus)
    assert report.crops == 3
    assert list(report.unreadable_crops.values()) == ["missing"]
    assert not report.ok


def test_one_picture_under_three_names_is_a_suspected_placeholder(complete_corpus):
    for name in ("train1", "train2"):
        shutil.copy(complete_corpus.root / "train0.png", complete_corpus.root / f"{name}.png")
    shutil.copy(complete_corpus.root / "valid0.png", complete_corpus.root / "valid1.png")
    report = check_corpus(complete_corpus)
    assert [[Path(file).name for file in group] for group in report.placeholders] == [
        ["train0.png", "train1.png", "train2.png"]
    ]
    assert report.ok


def test_posts_and_pictures_in_two_splits(tmp_path):
    corpus = write_own_corpus(
        tmp_path / "own",
        train=[post_record(0, "train"), post_record(1, "train")],
        valid=[
            post_record(0, "valid", words=["train", "1"]),
            post_record(1, "valid", image="train0.png"),
        ],
        test=[post_record(0, "test"), post_record(1, "test")],
    )
    shutil.copy(corpus.root / "train1.png", corpus.root / "test1.png")
    report = check_corpus(corpus)
    assert report.shared_posts == [{"train": "train1", "valid": "valid0"}]
    assert report.shared_pictures == [
        {"train": "train0.png", "valid": "train0.png"},
        {"train": "train1.png", "test": "test1.png"},
    ]
    assert report.ok


def test_skipped_lines_missing_splits_and_labels(tmp_path):
    strange = [{"start": 0, "end": 1, "type": "ODD"}]
    corpus = write_own_corpus(
        tmp_path / "own",
        train=[post_record(0, "train")],
        test=[post_record(0, "test"), post_record(1, "test", entities=strange)],
    )
    with (corpus.root / "test.jsonl").open("a") as stream:
        stream.write("{}\n")
    with pytest.warns(UserWarning, match="skipped|never predicted"):
        report = check_corpus(corpus)
    assert report.missing_splits == ["valid"]
    assert list(report.skipped_lines) == ["test"]
    assert "test.jsonl:3" in report.skipped_lines["test"][0]
    assert report.label_problems == ["test: ODD, 1 times, is no label of the corpus"]
    assert not report.ok
    text = render(render_report(report))
    assert "valid: no text file" in text
    assert "1 skipped lines" in text


def test_a_label_without_training_posts_is_a_remark(tmp_path):
    write_own_corpus(tmp_path / "own", **{split: [post_record(0, split)] for split in SPLITS})
    report = check_corpus(JsonlCorpus(tmp_path / "own", entity_types=["PER", "LOC"]))
    assert report.label_problems == ["train: LOC does not occur"]
    assert report.ok
