"""Pairing of texts with photographs: share, disjointness, determinism, and what is refused."""

import json
import tempfile
from pathlib import Path

import pytest
from helpers.corpora import mnre_line, published_corpus, render, write_file
from helpers.pictures import GROUPS, write_photographs
from hypothesis import given, settings
from hypothesis import strategies as st

from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.card import CARD_FILE
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.pairing import Pairing, pair_corpus, render_pairing
from mmie.data.corpora.twitter import Twitter2017
from mmie.types import SPLITS, Post

TYPES = ("PER", "LOC", "ORG")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Six pictures in each of four groups."""
    return write_photographs(tmp_path_factory.mktemp("photographs") / "groups")


def write_corpus(folder: Path, types_of_posts, splits=SPLITS) -> JsonlCorpus:
    """Write posts with one word per entity, whose types are given, to each split."""
    for split in splits:
        lines = []
        for number, types in enumerate(types_of_posts):
            entities = [{"start": i, "end": i + 1, "type": kind} for i, kind in enumerate(types)]
            words = [*(f"word{i}" for i in range(len(types))), "."]
            record = {"id": str(number), "words": words, "entities": entities, "context": "c"}
            lines.append(json.dumps({**record, "image": "old.jpg", "crops": ["old_0.jpg"]}) + "\n")
        write_file(folder / f"{split}.jsonl", "".join(lines))
    return JsonlCorpus(folder)


def group_of(post: Post) -> str:
    """Return the group of a post's photograph."""
    return post.image.parent.name


def types_of(post: Post) -> set[str]:
    """Return the groups that a post's entities name."""
    return {entity.type for entity in post.entities} or {"NONE"}


def shown(corpus: Corpus, split: str) -> int:
    """Count the posts whose photograph is of a group that their entities name."""
    return sum(group_of(post) in types_of(post) for post in corpus.posts(split))


@given(
    types=st.lists(st.lists(st.sampled_from(TYPES), max_size=3), min_size=1, max_size=20).filter(
        any
    ),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_the_share_is_kept_and_photographs_are_disjoint(photographs, types, share, seed):
    with tempfile.TemporaryDirectory() as name:
        corpus = write_corpus(Path(name) / "corpus", types)
        pairing = pair_corpus(corpus, photographs, Path(name) / "out", "ner", share, seed)
        paired = JsonlCorpus(Path(name) / "out")
        used: set[bytes] = set()
        for split in SPLITS:
            counts = pairing.splits[split]
            assert counts.posts == len(types)
            assert counts.chosen == round(share * len(types))
            assert counts.shown == shown(paired, split) >= counts.chosen
            contents = {post.image.read_bytes() for post in paired.posts(split)}
            assert counts.photographs == len(contents)
            assert not used & contents
            used |= contents


def test_texts_labels_and_contexts_stay_and_pictures_do_not(photographs, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", [["PER", "LOC"], []])
    pair_corpus(corpus, photographs, tmp_path / "out")
    for split in SPLITS:
        posts = JsonlCorpus(tmp_path / "out").posts(split)
        for old, new in zip(corpus.posts(split), posts, strict=True):
            assert (new.id, new.words, new.entities) == (old.id, old.words, old.entities)
            assert new.context == old.context == "c"
            assert new.crops == ()
            source = photographs / group_of(new) / new.image.name
            assert new.image.samefile(source), "a link, not a copy"


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(photographs, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", [["PER"], ["LOC"], ["ORG"], []] * 10)

    def write(name: str, seed: int) -> list[bytes]:
        pair_corpus(corpus, photographs, tmp_path / name, seed=seed)
        return [(tmp_path / name / f"{split}.jsonl").read_bytes() for split in SPLITS]

    first = write("first", 1)
    assert write("second", 1) == first
    assert write("third", 2) != first


def test_a_larger_share_changes_only_further_posts(photographs, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", [["PER"], ["LOC"], ["ORG"], []] * 25)
    images = []
    for share in (0.0, 0.4, 1.0):
        pair_corpus(corpus, photographs, tmp_path / f"{share}", share=share)
        posts = JsonlCorpus(tmp_path / f"{share}").posts("train")
        images.append([(group_of(post), post.image.name) for post in posts])
    none, some, every = images
    changed = sum(first != second for first, second in zip(none, some, strict=True))
    assert 0 < changed <= 40
    for of_none, of_some, of_every in zip(none, some, every, strict=True):
        assert of_some in (of_none, of_every)


def test_without_a_share_the_groups_do_not_depend_on_the_types(photographs, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", [["PER"], ["LOC"]] * 1000, splits=["train"])
    pairing = pair_corpus(corpus, photographs, tmp_path / "out", share=0)
    assert pairing.splits["train"].chosen == 0
    # binomial with 2000 trials at 1/4: standard deviation 19.4
    assert abs(pairing.splits["train"].shown - 500) < 100


def test_a_group_none_is_optional(photographs, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", [["PER"], []] * 10)
    smaller = write_photographs(tmp_path / "photographs", TYPES)
    pairing = pair_corpus(corpus, smaller, tmp_path / "out", share=1)
    assert pairing.splits["test"].chosen == pairing.splits["test"].shown == 10
    assert pair_corpus(corpus, photographs, tmp_path / "all", share=1).splits["test"].shown == 20


def test_the_photograph_of_a_relation_shows_its_tail(photographs, tmp_path):
    labels = ("/per/loc/place_of_birth", "/per/per/peer", "/loc/org/x", "None")
    for split in ("train", "val", "test"):
        lines = [mnre_line(relation=label) for label in labels]
        write_file(tmp_path / "mnre" / f"mnre_{split}.txt", "".join(lines))
    pairing = pair_corpus(MNRE(tmp_path / "mnre"), photographs, tmp_path / "out", "re", share=1)
    assert pairing.splits["valid"].shown == 4
    for split in SPLITS:
        posts = JsonlCorpus(tmp_path / "out").posts(split)
        assert [group_of(post) for post in posts] == ["LOC", "PER", "ORG", "NONE"]
        assert [post.relations[0].label for post in posts] == list(labels)


def test_a_tail_with_a_type_or_a_plain_label_names_the_group(photographs, tmp_path):
    tail = {"start": 1, "end": 2, "type": "LOC"}
    lines = []
    for relation in ({"tail": tail, "label": "/per/org/x"}, {"tail": tail | {"type": ""}}):
        relation = {"head": {"start": 0, "end": 1}, "label": "owns", **relation}
        record = {"id": "1", "words": ["a", "b"], "relations": [relation]}
        lines.append(json.dumps(record) + "\n")
    write_file(tmp_path / "corpus" / "train.jsonl", "".join(lines))
    corpus = JsonlCorpus(tmp_path / "corpus")
    groups = {"owns": "ORG"}
    pair_corpus(corpus, photographs, tmp_path / "out", "re", share=1, groups=groups)
    posts = JsonlCorpus(tmp_path / "out").posts("train")
    assert [group_of(post) for post in posts] == ["LOC", "ORG"]


def test_copies_are_files_of_their_own(photographs, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", [["PER"]])
    pair_corpus(corpus, photographs, tmp_path / "out", share=1, copy=True)
    (post,) = JsonlCorpus(tmp_path / "out").posts("train")
    source = photographs / "PER" / post.image.name
    assert not post.image.samefile(source)
    assert post.image.read_bytes() == source.read_bytes()


def test_the_card_and_the_table_say_that_scores_are_not_the_corpus_own(photographs, tmp_path):
    write_file(tmp_path / "tweets" / "train.txt", "IMGID:7\nJordan\tB-PER\nlands\tO\n\n")
    pairing = pair_corpus(Twitter2017(tmp_path / "tweets"), photographs, tmp_path / "out")
    assert isinstance(pairing, Pairing)
    assert "not scores of Twitter2017" in pairing.note
    assert JsonlCorpus(tmp_path / "out").note == pairing.note
    card = json.loads((tmp_path / "out" / CARD_FILE).read_text())
    assert (card["corpus"], card["task"], card["share"]) == ("Twitter2017", "ner", 0.8)
    assert card["groups"] == dict.fromkeys(sorted(GROUPS), 6)
    assert card["splits"]["train"]["posts"] == 1
    assert "not scores of Twitter2017" in " ".join(render(render_pairing(pairing)).split())


def test_files_that_are_no_pictures_and_copies_are_not_used(tmp_path):
    photographs = write_photographs(tmp_path / "photographs", count=2)
    (photographs / "PER" / "README.md").write_text("faces")
    (photographs / "PER" / "copy.png").write_bytes((photographs / "PER" / "0.png").read_bytes())
    (photographs / ".hidden").mkdir()
    corpus = write_corpus(tmp_path / "corpus", [["PER"]], splits=["train"])
    pairing = pair_corpus(corpus, photographs, tmp_path / "out")
    assert pairing.groups == dict.fromkeys(sorted(GROUPS), 2)


def test_what_cannot_be_paired_is_refused(photographs, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", [["PER", "MISC"]])

    def refuse(error: str, used: Path = photographs, **options: object) -> None:
        with pytest.raises((CorpusError, ValueError), match=error):
            pair_corpus(corpus, used, options.pop("out", tmp_path / "out"), **options)
        assert not (tmp_path / "out").exists()

    refuse("post 0: MISC has no folder")
    refuse("expected one of LOC, NONE, ORG, PER for MISC, found X", groups={"MISC": "X"})
    refuse("share is 1.5", share=1.5)
    refuse("share is nan", share=float("nan"))
    refuse("no labels for task re", task="re")
    refuse("no such folder", tmp_path / "nowhere")
    refuse("at least 2 subfolders", tmp_path / "corpus")
    refuse("at least 3 pictures", write_photographs(tmp_path / "few", count=2))
    refuse("holds something", out=tmp_path / "corpus", groups={"MISC": "ORG"})
    both = write_photographs(tmp_path / "both")
    (both / "PER" / "0.png").write_bytes((both / "LOC" / "1.png").read_bytes())
    refuse("in one group", both)


def test_a_photograph_that_cannot_be_linked_is_reported(photographs, tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus", [["PER"]])

    def fail(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", fail)
    with pytest.raises(CorpusError, match="cross-device link: add --copy true"):
        pair_corpus(corpus, photographs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("corpus_class", "task"), [(Twitter2017, "ner"), (MNRE, "re")])
def test_published_texts_with_photographs(shared_data, tmp_path, corpus_class, task):
    folder = shared_data / "photos"
    if not folder.is_dir():
        pytest.skip(f"the photographs are not at {folder}")
    corpus = published_corpus(corpus_class)
    pairing = pair_corpus(corpus, folder, tmp_path / "out", task, share=1, copy=True)
    paired = JsonlCorpus(tmp_path / "out")
    assert set(pairing.groups) == {"PER", "LOC", "ORG", "MISC", "NONE"}
    used: set[str] = set()
    for split in SPLITS:
        posts = paired.posts(split)
        assert pairing.splits[split].shown == len(posts) == len(corpus.posts(split))
        assert [post.words for post in posts] == [post.words for post in corpus.posts(split)]
        names = {f"{group_of(post)}/{post.image.name}" for post in posts}
        assert not used & names
        used |= names
    if task == "ner":
        assert shown(paired, "test") == len(paired.posts("test"))
