"""Editions of the published corpora."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.corpora import published_corpus, published_folder

from mmie.data.corpora import editions
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2015, Twitter2017

pytestmark = pytest.mark.slow


def rewrite_corpus(name: str, target: Path, change: object) -> Path:
    """A copy of a published corpus with every text changed by a function of it."""
    target.mkdir()
    for file in published_folder(name).glob("*.txt"):
        (target / file.name).write_bytes(change(file.read_text("utf-8")).encode())
    return target


@pytest.mark.parametrize(
    ("corpus_class", "name", "edition"),
    [
        (Twitter2015, "twitter2015", editions.TWITTER_2015),
        (Twitter2017, "twitter2017", editions.TWITTER_2017),
        (MNRE, "mnre", editions.MNRE_2),
    ],
)
def test_published_editions_are_recognised(tmp_path, corpus_class, name, edition):
    found = editions.find_edition(corpus_class(published_folder(name)))
    assert found.name == edition
    assert found.notes[0] == "by the hash of its text files"
    other_bytes = corpus_class(
        rewrite_corpus(name, tmp_path / name, lambda text: text.replace("\n", "\r\n"))
    )
    found = editions.find_edition(other_bytes)
    assert found.name == edition
    assert found.notes == [
        "by its counts; its text files differ in their bytes from the known ones"
    ]


def test_original_labels_differ_from_the_published_table():
    notes = editions.find_edition(published_corpus(Twitter2015)).notes
    assert "train: 931 B-MISC tags where the papers print 940 entities" in notes
    assert len(notes) == 5


@pytest.mark.slow
def test_edited_labels_are_recognised(tmp_path):
    root = rewrite_corpus(
        "twitter2015",
        tmp_path / "edited",
        lambda text: text.replace("O\nSeuss\tI-PER", "O\nSeuss\tB-PER"),
    )
    found = editions.find_edition(Twitter2015(root))
    assert found.name == editions.TWITTER_2015_EDITED
    differences = ("PER, 2217 in the known files", "PER, 1816 in", "PER, 552 in")
    assert any(difference in note for note in found.notes for difference in differences)


def test_differences_of_unknown_files_are_listed(tmp_path):
    root = rewrite_corpus(
        "twitter2017", tmp_path / "cut", lambda text: text[: text.rindex("IMGID:")]
    )
    found = editions.find_edition(Twitter2017(root))
    assert found.name == editions.UNKNOWN
    assert "train: 3372 posts, 3373 in the known files" in found.notes


def test_version_1_has_more_relations(tmp_path):
    record = {"token": ["a", "b"], "h": {"pos": [0, 1]}, "t": {"pos": [1, 2]}, "img_id": "a.jpg"}
    for split, labels in {"train": range(20), "val": range(31), "test": range(5)}.items():
        lines = [repr({**record, "relation": f"/per/per/{label}"}) for label in labels]
        (tmp_path / f"mnre_{split}.txt").write_text("\n".join(lines))
    (tmp_path / "ours_rel2id.json").write_text(
        json.dumps({f"/per/per/{label}": label for label in range(31)})
    )
    found = editions.find_edition(MNRE(tmp_path))
    assert found.name == editions.MNRE_1
    assert "32 relations" in found.notes[0]


def test_files_of_another_corpus_or_split_are_recognised(tmp_path):
    root = shutil.copytree(published_folder("twitter2017"), tmp_path / "swapped")
    (root / "valid.txt").chmod(0o644)
    shutil.copy(root / "test.txt", root / "valid.txt")
    notes = editions.find_edition(Twitter2015(root)).notes
    assert "its valid split is the published test split" in notes
    assert "but it is read as twitter2015" in notes
