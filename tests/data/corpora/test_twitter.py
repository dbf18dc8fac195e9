"""Twitter-2015 and Twitter-2017: the real texts where they exist, and malformed lines."""

import os
import re

import pytest
import torch
from helpers.corpora import TWEETS, published_corpus, write_file, write_twitter

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.twitter import Twitter2015, Twitter2017
from mmie.types import Entity

COUNTS = {
    (Twitter2015, "train"): (4000, {"PER": 2217, "LOC": 2091, "ORG": 927, "MISC": 931}),
    (Twitter2015, "valid"): (1000, {"PER": 552, "LOC": 522, "ORG": 247, "MISC": 220}),
    (Twitter2015, "test"): (3257, {"PER": 1816, "LOC": 1697, "ORG": 839, "MISC": 720}),
    (Twitter2017, "train"): (3373, {"PER": 2943, "LOC": 731, "ORG": 1674, "MISC": 701}),
    (Twitter2017, "valid"): (723, {"PER": 626, "LOC": 173, "ORG": 375, "MISC": 150}),
    (Twitter2017, "test"): (723, {"PER": 621, "LOC": 178, "ORG": 395, "MISC": 157}),
}


@pytest.mark.parametrize(("corpus_class", "split"), COUNTS)
def test_counts_are_those_published(corpus_class, split):
    corpus = published_corpus(corpus_class)
    posts, tags = COUNTS[corpus_class, split]
    assert len(corpus.posts(split)) == posts
    assert corpus.published_counts(split) == tags


@pytest.mark.parametrize("corpus_class", [Twitter2015, Twitter2017])
def test_entities_equal_those_of_seqeval(corpus_class):
    from seqeval.metrics.sequence_labeling import get_entities

    corpus = published_corpus(corpus_class)
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


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\n\n" + text + "\n\n\n",
    ],
)
def test_layout(tmp_path, change):
    corpus = write_twitter(tmp_path, change(TWEETS))
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


def test_odd_words_are_kept(tmp_path):
    odd = ["\ufe0f", "\u200d", "\xa0", "\u2028", "a b", "\x85", "\x0c", " "]
    corpus = write_twitter(tmp_path, "IMGID:1\n" + "".join(f"{word}\tO\n" for word in odd))
    assert corpus.posts("train")[0].words == tuple(odd)


def test_repeated_ids_become_unique(tmp_path):
    posts = write_twitter(tmp_path, "IMGID:1\na\tO\n\nIMGID:1\nb\tO\n\nIMGID:1\nc\tO\n").posts(
        "train"
    )
    assert [post.id for post in posts] == ["1", "1#2", "1#3"]
    assert len({post.image for post in posts}) == 1


@pytest.mark.parametrize("beside", [True, False], ids=["beside the root", "in the root"])
def test_pictures_and_crops(tmp_path, beside):
    home = tmp_path if beside else tmp_path / "root"
    write_file(tmp_path / "root" / "valid.txt", TWEETS)
    write_file(home / "twitter2017_images" / "7.jpg", "")
    write_file(home / "twitter2017_aux_images" / "val" / "crops" / "x.jpg", "")
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
def test_malformed_lines(tmp_path, text, line, found):
    with pytest.raises(CorpusError) as error:
        write_twitter(tmp_path, text).posts("train")
    assert str(error.value).startswith(f"{tmp_path / 'root' / 'train.txt'}:{line}: expected ")
    assert found in str(error.value)
    assert "\n" not in str(error.value)
    good = b"IMGID:9\nz\tB-PER\n\n"
    lenient = write_twitter(
        tmp_path, (text if isinstance(text, bytes) else text.encode()) + b"\n" + good, strict=False
    )
    with pytest.warns(UserWarning, match="1 malformed posts skipped"):
        posts = lenient.posts("train")
    assert [post.id for post in posts] == ["9"]
    assert len(lenient.skipped["train"]) == 1
    assert lenient.published_counts("train") == {"PER": 1}


def test_a_link_out_of_the_picture_folder_is_rejected(tmp_path):
    write_file(tmp_path / "elsewhere" / "7.jpg", "")
    folder = tmp_path / "root" / "twitter2017_images"
    folder.mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere" / "7.jpg", folder / "7.jpg")
    with pytest.raises(CorpusError, match=r"train\.txt:1: .*leads out of"):
        write_twitter(tmp_path).posts("train")


def test_the_picture_folder_may_be_a_link(tmp_path):
    write_file(tmp_path / "elsewhere" / "7.jpg", "")
    (tmp_path / "root").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "root" / "twitter2017_images")
    assert write_twitter(tmp_path).posts("train")[0].image.exists()


def test_a_corpus_with_three_columns_is_called_what_it_is(tmp_path):
    write_file(tmp_path / "dev.txt", "IMGID:1\nAnn\tB-person\tB-politician\n")
    corpus = Twitter2017(tmp_path)
    expected = r"dev\.txt:2: expected two columns.*FMNERG, to JSON lines\), found 3, 'Ann"
    with pytest.raises(CorpusError, match=expected):
        corpus.posts("valid")
