"""The package's own layout: what is read, what is refused, and that writing and reading agree."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.jsonl import JsonlCorpus, post_to_json
from mmie.types import Entity, Post, Relation

FULL = {
    "id": "7",
    "words": ["Jordan", "lands"],
    "image": "images/7.jpg",
    "crops": ["crops/7_0.jpg"],
    "context": "a jet",
    "entities": [{"start": 0, "end": 1, "type": "PER"}],
    "relations": [
        {"head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}, "label": "/per/loc/at"}
    ],
}


def corpus(folder: Path, *records: object, split: str = "train", **options: object) -> JsonlCorpus:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return JsonlCorpus(folder, **options)


def without(record: dict, *keys: str, **changes: object) -> dict:
    return {key: value for key, value in {**record, **changes}.items() if key not in keys}


def test_all_keys(tmp_path):
    read = corpus(tmp_path, FULL)
    person, place = Entity(0, 1, "PER"), Entity(1, 2, "")
    assert read.posts("train") == [
        Post(
            id="7",
            words=("Jordan", "lands"),
            image=tmp_path / "images" / "7.jpg",
            crops=(tmp_path / "crops" / "7_0.jpg",),
            context="a jet",
            entities=(person,),
            relations=(Relation(person, place, "/per/loc/at"),),
        )
    ]
    assert read.name == tmp_path.name
    assert read.tasks == ("ner", "re")
    assert read.entity_types == ("PER",)
    assert read.relation_labels == ("None", "/per/loc/at")
    assert read.max_missing == 0.05


@pytest.mark.parametrize("record", [{"id": 3, "words": ["a"]}, {"id": "3", "words": ["a"], "image": None, "crops": None,
                                    "entities": None, "relations": None, "context": None}])  # fmt: skip
def test_optional_keys(tmp_path, record):
    read = corpus(tmp_path, record)
    assert read.posts("train") == [Post(id="3", words=("a",))]
    assert (read.tasks, read.entity_types, read.relation_labels) == ((), (), ())


def test_text_offsets_count_characters(tmp_path):
    text = "Ann's in  New York."
    record = {
        "id": "1",
        "text": text,
        "entities": [
            {"start": 10, "end": 18, "type": "LOC"},
            {"start": 0, "end": 3, "type": "PER"},
        ],
        "relations": [
            {"head": {"start": 0, "end": 3}, "tail": {"start": 10, "end": 18}, "label": "at"}
        ],
    }
    (post,) = corpus(tmp_path, record).posts("train")
    assert post.words == ("Ann", "'", "s", "in", "New", "York", ".")
    assert [text[start:end] for start, end in post.offsets] == list(post.words)
    assert post.text == text
    person, place = Entity(0, 1, "PER"), Entity(4, 6, "LOC")
    assert post.entities == (person, place)
    assert post.relations == (Relation(person, place, "at"),)


def test_text_offsets_inside_a_word_name_it(tmp_path):
    record = {
        "id": "1",
        "text": "in Yorkshire",
        "entities": [{"start": 3, "end": 7, "type": "LOC"}],
    }
    with pytest.raises(
        CorpusError, match=r"entity LOC .*'York'.*nearest word is 'Yorkshire', 3 to 12"
    ):
        corpus(tmp_path, record).posts("train")


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ("{", "JSON object"),
        ("[]", "JSON object"),
        ("[" * 100_000, "JSON object"),
        (without(FULL, "id"), "'id'"),
        (without(FULL, id=""), "'id'"),
        (without(FULL, id=True), "'id'"),
        (without(FULL, id=1.5), "'id'"),
        (without(FULL, "words"), "neither"),
        (without(FULL, text="Jordan lands"), "both"),
        (without(FULL, "words", text=" "), "at least one word"),
        (without(FULL, "words", text=7), "'text'"),
        (without(FULL, words=[]), "at least one word"),
        (without(FULL, words="Jordan lands"), "list"),
        (without(FULL, words=["Jordan", ""]), "not empty"),
        (without(FULL, words=["Jordan", 2]), "2 as word 1"),
        (without(FULL, words=["Jordan", None]), "None as word 1"),
        (without(FULL, words=["Jordan", "\ud800"]), "as word 1"),
        (without(FULL, image=7), "'image'"),
        (without(FULL, image=""), "picture file"),
        (without(FULL, image="../x.jpg"), "leads out of"),
        (without(FULL, image="/x.jpg"), "leads out of"),
        (without(FULL, image="a/../../x.jpg"), "leads out of"),
        (without(FULL, crops="x.jpg"), "'crops'"),
        (without(FULL, crops=[7]), "'crops'"),
        (without(FULL, crops=["ok.jpg", "../x.jpg"]), "leads out of"),
        (without(FULL, context=["a"]), "'context'"),
        (without(FULL, entities={}), "'entities'"),
        (without(FULL, entities=[[0, 1, "PER"]]), "'entities'"),
        (without(FULL, entities=[{"start": 0, "end": 1}]), "'type'"),
        (without(FULL, entities=[{"start": 0, "end": 1, "type": ""}]), "'type'"),
        (without(FULL, entities=[{"start": 0, "end": 1, "type": 7}]), "'type'"),
        (without(FULL, entities=[{"start": 0, "end": 3, "type": "PER"}]), "end 3"),
        (without(FULL, entities=[{"start": 1, "end": 1, "type": "PER"}]), "start 1, end 1"),
        (without(FULL, entities=[{"start": -1, "end": 1, "type": "PER"}]), "start -1"),
        (without(FULL, entities=[{"start": "0", "end": 1, "type": "PER"}]), "start '0'"),
        (without(FULL, entities=[{"start": False, "end": 1, "type": "PER"}]), "start False"),
        (
            without(
                FULL,
                entities=[{"start": 0, "end": 2, "type": "A"}, {"start": 1, "end": 2, "type": "B"}],
            ),
            "share",
        ),
        (without(FULL, relations=[{"head": {"start": 0, "end": 1}, "label": "x"}]), "'tail'"),
        (without(FULL, relations=[without(FULL["relations"][0], "label")]), "'label'"),
        (without(FULL, relations=[without(FULL["relations"][0], label=1)]), "'label'"),
        (
            without(FULL, relations=[without(FULL["relations"][0], tail={"start": 1, "end": 9})]),
            "end 9",
        ),
        (
            without(
                FULL,
                relations=[without(FULL["relations"][0], tail={"start": 1, "end": 2, "type": 3})],
            ),
            "'type'",
        ),
    ],
)
def test_malformed(tmp_path, record, found):
    good = {"id": "g", "words": ["a"]}
    with pytest.raises(CorpusError, match=r"train\.jsonl:3: expected ") as error:
        corpus(tmp_path, good, "", record).posts("train")
    message = str(error.value)
    assert found in message
    assert "\n" not in message
    assert len(message) < 600
    lenient = corpus(tmp_path, good, record, good, strict=False)
    with pytest.warns(UserWarning, match="1 malformed posts skipped"):
        posts = lenient.posts("train")
    assert [post.id for post in posts] == ["g", "g#2"]
    assert len(lenient.skipped["train"]) == 1


def test_bytes_that_are_no_utf8_are_refused(tmp_path):
    (tmp_path / "test.jsonl").write_bytes(b'{"id": "1", "words": ["\xe9"]}\n')
    with pytest.raises(CorpusError, match=r"test\.jsonl:1: expected UTF-8 text"):
        JsonlCorpus(tmp_path).posts("test")


def test_unknown_keys_are_named_once(tmp_path):
    read = corpus(tmp_path, {**FULL, "entites": []}, {**FULL, "lang": "en"})
    with pytest.warns(UserWarning, match="unknown keys ignored: 'entites', 'lang'"):
        read.posts("train")


def test_labels_come_from_training_unless_given(tmp_path):
    corpus(tmp_path, without(FULL, entities=[{"start": 0, "end": 1, "type": "NEW"}]), split="test")
    read = corpus(tmp_path, FULL)
    with pytest.warns(UserWarning, match="not in training, so never predicted: NEW"):
        (post,) = read.posts("test")
    assert post.entities == (Entity(0, 1, "NEW"),)
    assert read.entity_types == ("PER",)
    given = JsonlCorpus(
        tmp_path, entity_types=["NEW", "PER"], relation_labels=["z", "None", "/per/loc/at"]
    )
    assert given.entity_types == ("NEW", "PER")
    assert given.relation_labels == ("None", "z", "/per/loc/at")


def test_given_labels_must_hold_those_of_training(tmp_path):
    read = corpus(tmp_path, FULL, entity_types=["LOC"], relation_labels=["x"])
    with pytest.raises(CorpusError, match="entity_types lacks what the training split holds: PER"):
        _ = read.entity_types
    with pytest.raises(
        CorpusError, match="relation_labels lacks what the training split holds: /per/loc/at"
    ):
        _ = read.relation_labels


def test_given_labels_serve_without_training(tmp_path):
    read = corpus(tmp_path, FULL, split="test", entity_types=["PER"])
    assert read.splits == ("test",)
    assert read.tasks == ("ner",)
    with pytest.warns(UserWarning, match="/per/loc/at"):
        assert len(read.posts("test")) == 1


spans = st.tuples(st.integers(0, 3), st.integers(1, 4)).filter(lambda span: span[0] < span[1])
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
arguments = st.builds(lambda span, kind: Entity(*span, kind), spans, st.one_of(st.just(""), names))
posts = st.builds(
    Post,
    id=names,
    words=st.lists(names, min_size=4, max_size=6).map(tuple),
    image=st.sampled_from([None, "a.jpg", "b/ü c.png"]),
    crops=st.lists(st.sampled_from(["x.jpg", "y/z.jpg"]), max_size=2).map(tuple),
    context=st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
    entities=st.lists(names, max_size=4).map(
        lambda kinds: tuple(Entity(i, i + 1, kind) for i, kind in enumerate(kinds))
    ),
    relations=st.lists(st.builds(Relation, arguments, arguments, names), max_size=2).map(tuple),
)


@given(post=posts)
def test_reading_gives_back_what_was_written(tmp_path_factory, post):
    from dataclasses import replace

    root = tmp_path_factory.mktemp("corpus")
    image = None if post.image is None else root / post.image
    post = replace(post, image=image, crops=tuple(root / crop for crop in post.crops))
    line = json.loads(json.dumps(post_to_json(post, root)))
    assert corpus(root, line).posts("train") == [post]


def test_pictures_outside_the_root_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="expected a picture inside"):
        post_to_json(Post(id="1", words=("a",), image=tmp_path / "x.jpg"), tmp_path / "corpus")
