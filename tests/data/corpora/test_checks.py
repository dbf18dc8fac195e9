"""Statistics, editions and the check of a corpus."""

import io
import json
import shutil
from functools import cache
from pathlib import Path

import pytest
from helpers.paths import SHARED_DATA
from PIL import Image
from rich.console import Console

from mmie.data.corpora import editions
from mmie.data.corpora.checks import check_corpus, corpus_stats, render_report, render_stats
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2015, Twitter2017

SPLITS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path / "cache"))


def shared(name: str) -> Path:
    if not (SHARED_DATA / name).is_dir():
        pytest.skip(f"the texts of {name} are not at hand")
    return SHARED_DATA / name


def rewritten(name: str, target: Path, change: object) -> Path:
    """A copy of a published corpus with every text changed by a function of it."""
    target.mkdir()
    for file in shared(name).glob("*.txt"):
        (target / file.name).write_bytes(change(file.read_text("utf-8")).encode())
    return target


@cache
def twitter_2015() -> Twitter2015:
    return Twitter2015(shared("twitter2015"))


def printed(renderable: object) -> str:
    stream = io.StringIO()
    Console(width=200, file=stream).print(renderable)
    return stream.getvalue()


def post(number: int, split: str, **changes: object) -> dict:
    record = {
        "id": f"{split}{number}",
        "words": [split, str(number)],
        "image": f"{split}{number}.png",
    }
    return {**record, "entities": [{"start": 0, "end": 1, "type": "PER"}], **changes}


def own(folder: Path, **splits: list[dict]) -> JsonlCorpus:
    """A corpus of one's own, every picture that is named painted differently."""
    folder.mkdir(exist_ok=True)
    colour = 0
    for split, records in splits.items():
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(record) + "\n" for record in records)
        )
        for record in records:
            for name in [record["image"], *record.get("crops", [])]:
                if name is not None:
                    colour += 1
                    Image.new("RGB", (8, 8), (colour, 9, 9)).save(folder / name)
    return JsonlCorpus(folder, strict=False)


@pytest.fixture
def whole(tmp_path):
    return own(tmp_path / "own", **{split: [post(i, split) for i in range(3)] for split in SPLITS})


@pytest.mark.parametrize(
    ("corpus_class", "name", "edition"),
    [
        (Twitter2015, "twitter2015", editions.TWITTER_2015),
        (Twitter2017, "twitter2017", editions.TWITTER_2017),
        (MNRE, "mnre", editions.MNRE_2),
    ],
)
def test_published_editions_are_known(tmp_path, corpus_class, name, edition):
    found = editions.find_edition(corpus_class(shared(name)))
    assert found.name == edition
    assert found.notes[0] == "by the hash of its text files"
    other_bytes = corpus_class(
        rewritten(name, tmp_path / name, lambda text: text.replace("\n", "\r\n"))
    )
    found = editions.find_edition(other_bytes)
    assert found.name == edition
    assert found.notes == [
        "by its counts; its text files differ in their bytes from the known ones"
    ]


def test_original_labels_differ_from_the_published_table():
    notes = editions.find_edition(twitter_2015()).notes
    assert "train: 931 B-MISC tags where the papers print 940 entities" in notes
    assert len(notes) == 5


def test_edited_labels_are_told_from_the_original(tmp_path):
    root = rewritten(
        "twitter2015",
        tmp_path / "edited",
        lambda text: text.replace("O\nSeuss\tI-PER", "O\nSeuss\tB-PER"),
    )
    found = editions.find_edition(Twitter2015(root))
    assert found.name == editions.TWITTER_2015_EDITED
    assert any("PER, 2217 in the known files" in note or "PER, 1816 in" in note or "PER, 552 in" in note
               for note in found.notes)  # fmt: skip


def test_other_files_are_unknown_and_say_how_they_differ(tmp_path):
    root = rewritten("twitter2017", tmp_path / "cut", lambda text: text[: text.rindex("IMGID:")])
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


def test_files_of_another_corpus_or_split_are_noticed(tmp_path):
    root = shutil.copytree(shared("twitter2017"), tmp_path / "swapped")
    (root / "valid.txt").chmod(0o644)
    shutil.copy(root / "test.txt", root / "valid.txt")
    notes = editions.find_edition(Twitter2015(root)).notes
    assert "its valid split is the published test split" in notes
    assert "but it is read as twitter2015" in notes


def test_stats_of_published_texts_without_pictures():
    stats = corpus_stats(twitter_2015())
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
    assert "975 (931 B-)" in printed(render_stats(stats))


def test_stats_of_mnre():
    splits = corpus_stats(MNRE(shared("mnre")))["splits"]
    assert [splits[split]["posts"] for split in SPLITS] == [12247, 1624, 1614]
    assert [splits[split]["pictures"] for split in SPLITS] == [7356, 931, 914]
    assert splits["train"]["relations"]["None"] == 7744
    assert len(splits["test"]["relations"]) == 23
    assert splits["test"]["relations"]["/per/misc/race"] == 0


def test_stats_of_own_posts(tmp_path):
    relation = {"head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}, "label": "at"}
    records = [
        post(0, "train", relations=[relation, relation]),
        post(1, "train", image="train0.png"),
    ]
    records += [post(2, "train", image=None), post(3, "train", entities=[])]
    corpus = own(tmp_path / "own", train=records)
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
    assert "at relations" in printed(render_stats(stats))


def test_a_whole_corpus_is_ok(whole):
    report = check_corpus(whole)
    assert report.ok
    assert report.edition == editions.OWN_LAYOUT
    assert (report.pictures, report.crops, report.placeholders, report.shared_posts) == (
        9,
        0,
        [],
        [],
    )
    assert printed(render_report(report)).rstrip().endswith("ok")
    assert report.to_dict()["ok"] is True


def test_missing_and_broken_files_are_named(whole):
    (whole.root / "train0.png").unlink()
    (whole.root / "valid1.png").write_bytes(b"junk")
    report = check_corpus(whole, max_pixels=1000)
    missing, broken = str(whole.root / "train0.png"), str(whole.root / "valid1.png")
    assert report.unreadable_pictures == {missing: "missing", broken: "not a picture"}
    assert not report.ok
    assert (
        json.loads(json.dumps(report.to_dict()))["unreadable_pictures"][broken] == "not a picture"
    )
    text = printed(render_report(report))
    assert "2 of 9 pictures unreadable (1 missing, 1 not a picture)" in text
    assert "something is missing or broken" in text


def test_missing_crops_are_named(tmp_path):
    corpus = own(
        tmp_path / "own", **{split: [post(0, split, crops=[f"{split}c.png"])] for split in SPLITS}
    )
    assert check_corpus(corpus).ok
    (corpus.root / "testc.png").unlink()
    report = check_corpus(corpus)
    assert report.crops == 3
    assert list(report.unreadable_crops.values()) == ["missing"]
    assert not report.ok


def test_one_picture_under_three_names_is_suspected(whole):
    for name in ("train1", "train2"):
        shutil.copy(whole.root / "train0.png", whole.root / f"{name}.png")
    shutil.copy(whole.root / "valid0.png", whole.root / "valid1.png")
    report = check_corpus(whole)
    assert [[Path(file).name for file in group] for group in report.placeholders] == [
        ["train0.png", "train1.png", "train2.png"]
    ]
    assert report.ok


def test_posts_and_pictures_in_two_splits(tmp_path):
    corpus = own(
        tmp_path / "own",
        train=[post(0, "train"), post(1, "train")],
        valid=[post(0, "valid", words=["train", "1"]), post(1, "valid", image="train0.png")],
        test=[post(0, "test"), post(1, "test")],
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
    corpus = own(
        tmp_path / "own",
        train=[post(0, "train")],
        test=[post(0, "test"), post(1, "test", entities=strange)],
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
    text = printed(render_report(report))
    assert "valid: no text file" in text
    assert "1 skipped lines" in text


def test_a_label_that_training_never_uses_is_a_remark(tmp_path):
    own(tmp_path / "own", **{split: [post(0, split)] for split in SPLITS})
    report = check_corpus(JsonlCorpus(tmp_path / "own", entity_types=["PER", "LOC"]))
    assert report.label_problems == ["train: LOC does not occur"]
    assert report.ok
