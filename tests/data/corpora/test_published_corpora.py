"""The published corpora: real texts where they are at hand, small ones in every published layout, every bad line."""

import json
import os
import pickle
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers.paths import SHARED_DATA

from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.mnre import MNRE, VERSION_2_LABELS
from mmie.data.corpora.twitter import Twitter2015, Twitter2017
from mmie.types import Entity, Relation

POSTS = "IMGID:7\nJordan\tB-PER\nlands\tO\n\nIMGID:8\nSt\tI-LOC\nPaul\tI-LOC\nUN\tB-ORG\nCup\tI-OTHER\n\n"

COUNTS = {
    (Twitter2015, "train"): (4000, {"PER": 2217, "LOC": 2091, "ORG": 927, "MISC": 931}),
    (Twitter2015, "valid"): (1000, {"PER": 552, "LOC": 522, "ORG": 247, "MISC": 220}),
    (Twitter2015, "test"): (3257, {"PER": 1816, "LOC": 1697, "ORG": 839, "MISC": 720}),
    (Twitter2017, "train"): (3373, {"PER": 2943, "LOC": 731, "ORG": 1674, "MISC": 701}),
    (Twitter2017, "valid"): (723, {"PER": 626, "LOC": 173, "ORG": 375, "MISC": 150}),
    (Twitter2017, "test"): (723, {"PER": 621, "LOC": 178, "ORG": 395, "MISC": 157}),
}


def shared(corpus_class: type[Corpus]) -> Corpus:
    folder = SHARED_DATA / corpus_class.__name__.lower()
    if not folder.is_dir():
        pytest.skip(f"the texts of {corpus_class.__name__} are not at hand")
    return corpus_class(folder)


def mnre_line(**changes: object) -> str:
    record = {
        "token": ["Ann", "of", "New", "York"],
        "h": {"name": "Ann", "pos": [0, 1]},
        "t": {"name": "New York", "pos": [2, 4]},
        "img_id": "a.jpg",
        "relation": "/per/loc/place_of_residence",
    }
    return repr({**record, **changes}) + "\n"


def write(file: Path, text: str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def twitter(tmp_path: Path, text: str | bytes = POSTS, strict: bool = True) -> Twitter2017:
    write(tmp_path / "root" / "train.txt", text)
    return Twitter2017(tmp_path / "root", strict=strict)


def mnre(tmp_path: Path, text: str | bytes, strict: bool = True) -> MNRE:
    write(tmp_path / "txt" / "ours_train.txt", text)
    return MNRE(tmp_path, strict=strict)


@pytest.mark.parametrize(("corpus_class", "split"), COUNTS)
def test_twitter_reproduces_the_published_counts(corpus_class, split):
    corpus = shared(corpus_class)
    posts, tags = COUNTS[corpus_class, split]
    assert len(corpus.posts(split)) == posts
    assert corpus.published_counts(split) == tags


@pytest.mark.parametrize("corpus_class", [Twitter2015, Twitter2017])
def test_twitter_entities_are_those_seqeval_finds(corpus_class):
    from seqeval.metrics.sequence_labeling import get_entities

    corpus = shared(corpus_class)
    for split in corpus.splits:
        expected = []
        for block in re.split(
            r"^IMGID:.*$", corpus.text_file(split).read_text("utf-8"), flags=re.MULTILINE
        )[1:]:
            rows = [line.split("\t") for line in block.split("\n") if line]
            entities = get_entities([tag.replace("OTHER", "MISC") for _, tag in rows])
            expected.append(
                (
                    tuple(word for word, _ in rows),
                    [(start, end + 1, kind) for kind, start, end in entities],
                )
            )
        posts = corpus.posts(split)
        found = [
            (post.words, [(item.start, item.end, item.type) for item in post.entities])
            for post in posts
        ]
        assert found == expected
        assert len({post.id for post in posts}) == len(posts)


def test_mnre_reproduces_the_published_counts():
    corpus = shared(MNRE)
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


@pytest.mark.parametrize("change", [lambda t: t, lambda t: t.rstrip("\n"), lambda t: t.replace("\n", "\r\n"),
                                    lambda t: "\ufeff" + t, lambda t: "\n\n" + t + "\n\n\n"])  # fmt: skip
def test_twitter_layout(tmp_path, change):
    corpus = twitter(tmp_path, change(POSTS))
    first, second = corpus.posts("train")
    assert (first.id, first.words, first.entities) == (
        "7",
        ("Jordan", "lands"),
        (Entity(0, 1, "PER"),),
    )
    assert second.entities == (Entity(0, 2, "LOC"), Entity(2, 3, "ORG"), Entity(3, 4, "MISC"))
    assert corpus.published_counts("train") == {"PER": 1, "ORG": 1}
    assert first.image == tmp_path / "root" / "twitter2017_images" / "7.jpg"
    assert corpus.splits == ("train",)
    assert (corpus.name, corpus.tasks, corpus.entity_types) == (
        "twitter2017",
        ("ner",),
        ("PER", "LOC", "ORG", "MISC"),
    )
    assert corpus.posts("train") is corpus.posts("train")


def test_twitter_keeps_odd_words(tmp_path):
    odd = ["\ufe0f", "\u200d", "\xa0", "\u2028", "a b", "\x85", "\x0c", " "]
    corpus = twitter(tmp_path, "IMGID:1\n" + "".join(f"{word}\tO\n" for word in odd))
    assert corpus.posts("train")[0].words == tuple(odd)


def test_twitter_repeated_ids_become_unique(tmp_path):
    posts = twitter(tmp_path, "IMGID:1\na\tO\n\nIMGID:1\nb\tO\n\nIMGID:1\nc\tO\n").posts("train")
    assert [post.id for post in posts] == ["1", "1#2", "1#3"]
    assert len({post.image for post in posts}) == 1


@pytest.mark.parametrize("beside", [True, False], ids=["beside the root", "in the root"])
def test_twitter_pictures_and_crops(tmp_path, beside):
    home = tmp_path if beside else tmp_path / "root"
    write(tmp_path / "root" / "valid.txt", POSTS)
    write(home / "twitter2017_images" / "7.jpg", "")
    write(home / "twitter2017_aux_images" / "val" / "crops" / "x.jpg", "")
    torch.save({"7.jpg": ["x.jpg", "y.jpg"]}, tmp_path / "root" / "twitter2017_val_dict.pth")
    first, second = Twitter2017(tmp_path / "root").posts("valid")
    assert first.image.samefile(home / "twitter2017_images" / "7.jpg")
    assert [crop.name for crop in first.crops] == ["x.jpg", "y.jpg"]
    assert first.crops[0].exists()
    assert second.crops == ()


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("IMGID:1\na O\n", 2, "'a O'"),
        ("IMGID:1\na\tO\nb\tB-FOO\n", 3, "B-FOO"),
        ("IMGID:1\na\tPER\n", 2, "PER"),
        ("IMGID:1\na\tO\tO\n", 2, "O"),
        ("IMGID:1\n\tO\n", 2, "O"),
        ("IMGID:1\na\tO\n\nb\tO\n", 3, "more words"),
        ("a\tO\n", 1, "IMGID:<id>"),
        ("\n\na\tO\n", 3, "IMGID:<id>"),
        ("IMGID:\na\tO\n", 1, "IMGID:<id>"),
        ("IMGID:1\n\n", 1, "none"),
        (b"IMGID:1\na\tO\n\xff\tO\n", 3, "UTF-8"),
        ("IMGID:../1\na\tO\n", 1, "leads out of"),
        ("IMGID:/etc/1\na\tO\n", 1, "leads out of"),
    ],
)
def test_twitter_malformed(tmp_path, text, line, found):
    with pytest.raises(CorpusError) as error:
        twitter(tmp_path, text).posts("train")
    assert str(error.value).startswith(f"{tmp_path / 'root' / 'train.txt'}:{line}: expected ")
    assert found in str(error.value)
    assert "\n" not in str(error.value)
    good = b"IMGID:9\nz\tB-PER\n\n"
    lenient = twitter(
        tmp_path, (text if isinstance(text, bytes) else text.encode()) + b"\n" + good, strict=False
    )
    with pytest.warns(UserWarning, match="1 malformed posts skipped"):
        posts = lenient.posts("train")
    assert [post.id for post in posts] == ["9"]
    assert len(lenient.skipped["train"]) == 1
    assert lenient.published_counts("train") == {"PER": 1}


def test_picture_behind_a_link_is_refused(tmp_path):
    write(tmp_path / "elsewhere" / "7.jpg", "")
    folder = tmp_path / "root" / "twitter2017_images"
    folder.mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere" / "7.jpg", folder / "7.jpg")
    with pytest.raises(CorpusError, match=r"train\.txt:1: .*leads out of"):
        twitter(tmp_path).posts("train")


def test_picture_folder_may_be_a_link(tmp_path):
    write(tmp_path / "elsewhere" / "7.jpg", "")
    (tmp_path / "root").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "root" / "twitter2017_images")
    assert twitter(tmp_path).posts("train")[0].image.exists()


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("evil",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda file: torch.save({"7.jpg": Evil()}, file), "cannot be loaded"),
        (lambda file: file.write_bytes(pickle.dumps(Evil())), "cannot be loaded"),
        (lambda file: file.write_bytes(b"junk"), "cannot be loaded"),
        (lambda file: file.write_bytes(b""), "cannot be loaded"),
        (lambda file: torch.save(["x.jpg"], file), "other values"),
        (lambda file: torch.save({"7.jpg": "x.jpg"}, file), "other values"),
        (lambda file: torch.save({"7.jpg": ["../../../x.jpg"]}, file), "leads out of"),
    ],
)
def test_crop_index_is_not_trusted(tmp_path, monkeypatch, make, found):
    monkeypatch.chdir(tmp_path)
    corpus = twitter(tmp_path)
    make(tmp_path / "root" / "twitter2017_train_dict.pth")
    with pytest.raises(CorpusError, match=found) as error:
        corpus.posts("train")
    assert "\n" not in str(error.value)
    assert not Path("evil").exists()


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(CorpusError, match="nowhere: expected the folder of twitter2015"):
        Twitter2015(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"train\.txt, valid\.txt, test\.txt"):
        Twitter2015(tmp_path)
    with pytest.raises(CorpusError, match=r"expected the valid split, found none of valid\.txt"):
        twitter(tmp_path).posts("valid")
    with pytest.raises(CorpusError, match=r"mnre_dev.txt.*txt/ours_valid.txt"):
        MNRE(tmp_path)


@pytest.mark.parametrize("folder", ["", "txt"])
@pytest.mark.parametrize("start", ["mnre", "ours"])
@pytest.mark.parametrize("valid", ["val", "dev", "valid"])
def test_mnre_layouts(tmp_path, folder, start, valid):
    text = mnre_line() + mnre_line(
        img_id="b.png", h={"pos": (2, 4)}, t={"pos": [2, 3]}, relation="None"
    )
    write(tmp_path / folder / f"{start}_{valid}.txt", text.replace("\n", "\r\n"))
    torch.save({1: ["c.jpg"]}, tmp_path / folder / "mre_dev_dict.pth")
    write(
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


def test_mnre_labels_beyond_the_built_in_ones(tmp_path):
    corpus = mnre(tmp_path, mnre_line(relation="/z") + mnre_line(relation="/y"))
    assert corpus.relation_labels == (*VERSION_2_LABELS, "/y", "/z")


def test_mnre_ids_count_blank_lines(tmp_path):
    corpus = mnre(tmp_path, mnre_line() + "\n" + mnre_line())
    assert [post.id for post in corpus.posts("train")] == ["0", "2"]


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": 1}'])
def test_mnre_label_file_must_hold_ids(tmp_path, text):
    corpus = mnre(tmp_path, mnre_line())
    write(tmp_path / "ours_rel2id.json", text if text != '{"a": 1}' else '{"a": "1"}')
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
def test_mnre_malformed(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=r"ours_train\.txt:2: expected .*, found ") as error:
        mnre(tmp_path, mnre_line() + line).posts("train")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    assert not Path("evil").exists()
    lenient = mnre(tmp_path, mnre_line() + line + mnre_line(), strict=False)
    with pytest.warns(UserWarning, match="1 malformed posts skipped"):
        assert [post.id for post in lenient.posts("train")] == ["0", "2"]
