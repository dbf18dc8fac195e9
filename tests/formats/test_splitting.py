"""Division of posts: shares of labels, pictures in one split, the same result for one seed."""

import json
from collections import Counter, defaultdict

import pytest
from helpers.formats import write_text
from PIL import Image

from mmie.data import JsonlCorpus
from mmie.formats import FormatError
from mmie.formats.splitting import split_corpus


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """120 posts of three types with a rare one, which share 40 pictures, two in two files each."""
    folder = tmp_path_factory.mktemp("source")
    lines = []
    for number in range(120):
        kinds = ["PER"] + ["LOC"] * (number % 3 == 0) + ["RARE"] * (number % 12 == 0)
        words = ["w", *kinds]
        entities = [{"start": i + 1, "end": i + 2, "type": k} for i, k in enumerate(kinds)]
        picture = folder / f"{number % 80}.png"
        Image.new("RGB", (4, 4), (number % 40, 0, 0)).save(picture)
        record = {"id": number, "words": words, "entities": entities, "image": picture.name}
        lines.append(json.dumps(record))
    return write_text(folder / "all.jsonl", "\n".join(lines))


@pytest.mark.parametrize("by", ["post", "picture"])
def test_splits_have_their_shares_and_all_posts_once(source, tmp_path, by):
    division = split_corpus(source, tmp_path / "out", valid=0.25, test=0.25, by=by)
    corpus = JsonlCorpus(tmp_path / "out")
    ids, pictures = [], Counter()
    for split in corpus.splits:
        posts = corpus.posts(split)
        ids += [int(post.id) for post in posts]
        assert len(posts) == division.posts[split]
        pictures.update({post.image.read_bytes() for post in posts})
        assert [int(post.id) for post in posts] == sorted(int(post.id) for post in posts)
    assert sorted(ids) == list(range(120))
    assert division.posts == {"train": 60, "valid": 30, "test": 30}
    rare = {split: counts["entity", "RARE"] for split, counts in division.labels.items()}
    assert sum(rare.values()) == 10
    assert all(2 <= count <= 6 for count in rare.values())
    assert (max(pictures.values()) == 1) == (by == "picture")


def test_posts_of_several_pictures_stay_with_all_posts_of_each(tmp_path):
    lines = []
    for number in range(40):
        names = [f"{number}.png", f"{(number // 10) * 10}.png"]
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / names[0])
        lines.append(json.dumps({"id": number, "text": "Ann", "images": names}))
    source = write_text(tmp_path / "all.jsonl", "\n".join(lines))
    division = split_corpus(source, tmp_path / "out", valid=0.25, test=0.25)
    assert division.posts == {"train": 20, "valid": 10, "test": 10}
    assert division.pictures == {"train": 20, "valid": 10, "test": 10}
    corpus = JsonlCorpus(tmp_path / "out")
    owners = defaultdict(set)
    for split in corpus.splits:
        for post in corpus.posts(split):
            assert len(post.images) == (1 if int(post.id) % 10 == 0 else 2)
            for image in post.images:
                owners[image.read_bytes()].add(split)
    assert [len(splits) for splits in owners.values()] == [1] * 40


def test_the_seed_decides(source, tmp_path):
    texts = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        split_corpus(source, tmp_path / name, seed=seed, picture_files="leave")
        texts.append((tmp_path / name / "valid.jsonl").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_a_share_of_zero_has_no_file(source, tmp_path):
    split_corpus(source, tmp_path / "out", valid=0, test=0.5, picture_files="leave")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "test.jsonl",
        "train.jsonl",
    ]


def test_wrong_input_is_refused(source, tmp_path):
    for valid, test in ((-0.1, 0.1), (0.5, 0.5), (float("nan"), 0.1)):
        with pytest.raises(FormatError, match="expected shares from 0"):
            split_corpus(source, tmp_path / "out", valid=valid, test=test)
    bad = write_text(tmp_path / "bad.jsonl", "broken")
    with pytest.raises(FormatError, match=r"line 1: expected a JSON object.*mmie convert"):
        split_corpus(bad, tmp_path / "out")
    with pytest.raises(FormatError, match="expected posts, found none"):
        split_corpus(write_text(bad, "\n"), tmp_path / "out")
    with pytest.raises(FormatError, match="leads out of"):
        split_corpus(write_text(bad, '{"text": "a", "image": "../b"}'), tmp_path / "out")
    (tmp_path / "full" / "x").mkdir(parents=True)
    with pytest.raises(FormatError, match="name another folder by --out"):
        split_corpus(source, tmp_path / "full")
