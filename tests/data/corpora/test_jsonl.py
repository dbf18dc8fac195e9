"""Corpora in JSON lines: what is read, and what is rejected."""

import json
from pathlib import Path

import pytest

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.jsonl import JsonlCorpus
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


def write_jsonl(
    folder: Path, *records: object, split: str = "train", **options: object
) -> JsonlCorpus:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return JsonlCorpus(folder, **options)


def change(record: dict, *keys: str, **changes: object) -> dict:
    return {key: value for key, value in {**record, **changes}.items() if key not in keys}


def test_all_keys(tmp_path):
    read = write_jsonl(tmp_path, FULL)
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


@pytest.mark.parametrize(
    "record",
    [
        {"id": 3, "words": ["a"]},
        {
            "id": "3",
            "words": ["a"],
            **dict.fromkeys(("image", "crops", "entities", "relations", "context")),
        },
    ],
)
def test_optional_keys(tmp_path, record):
    read = write_jsonl(tmp_path, record)
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
    (post,) = write_jsonl(tmp_path, record).posts("train")
    assert post.words == ("Ann", "'", "s", "in", "New", "York", ".")
    assert [text[start:end] for start, end in post.offsets] == list(post.words)
    assert post.text == text
    person, place = Entity(0, 1, "PER"), Entity(4, 6, "LOC")
    assert post.entities == (person, place)
    assert post.relations == (Relation(person, place, "at"),)


def test_a_word_is_split_where_an_entity_begins_or_ends(tmp_path):
    records = [
        {"id": "1", "text": "in Yorkshire", "entities": [{"start": 3, "end": 7, "type": "LOC"}]},
        {"id": "2", "text": "서울에서 만나", "entities": [{"start": 0, "end": 2, "type": "LOC"}]},
        {"id": "3", "text": "#RomeOpen ", "entities": [{"start": 1, "end": 10, "type": "LOC"}]},
    ]
    york, seoul, rome = write_jsonl(tmp_path, *records).posts("train")
    assert (york.words, york.entities) == (("in", "York", "shire"), (Entity(1, 2, "LOC"),))
    assert (seoul.words, seoul.entities) == (("서울", "에서", "만나"), (Entity(0, 1, "LOC"),))
    assert (rome.words, rome.entities) == (("#", "RomeOpen"), (Entity(1, 2, "LOC"),))


def test_an_array_under_another_name(tmp_path):
    (tmp_path / "train.json").write_text('[\n{"id": 1, "words": ["a"]},\n{"id": 2, "text": "b"}]')
    (tmp_path / "dev.jsonl").write_text('{"id": 1, "words": ["a"]}')
    corpus = JsonlCorpus(tmp_path)
    assert corpus.splits == ("train", "valid")
    assert [post.id for post in corpus.posts("train")] == ["1", "2"]
    assert corpus.text_file("valid").name == "dev.jsonl"


def test_ids_of_several_posts_are_named(tmp_path):
    records = [{"id": "a", "text": "b"}, {"id": "a", "text": "c"}, {"id": "d", "text": "e"}]
    with pytest.warns(UserWarning, match=r"1 ids occur more than once.*#2 and so on: 'a'"):
        posts = write_jsonl(tmp_path, *records).posts("train")
    assert [post.id for post in posts] == ["a", "a#2", "d"]


def test_links_are_followed_if_the_owner_says_so(tmp_path):
    (tmp_path / "blob").write_bytes(b"a picture")
    root = tmp_path / "corpus"
    root.mkdir()
    (root / "a.jpg").symlink_to("../blob")
    (root / "train.jsonl").write_text('{"id": 1, "text": "a", "image": "a.jpg"}')
    with pytest.raises(
        CorpusError, match="--follow_links, or follow_links of a corpus, admits links"
    ):
        JsonlCorpus(root).posts("train")
    (post,) = JsonlCorpus(root, follow_links=True).posts("train")
    assert post.image.read_bytes() == b"a picture"


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ("{", "JSON object"),
        ("[]", "JSON object"),
        ("[" * 100_000, "JSON object"),
        (change(FULL, "id"), "'id'"),
        (change(FULL, id=""), "'id'"),
        (change(FULL, id=True), "'id'"),
        (change(FULL, id=1.5), "'id'"),
        (change(FULL, "words"), "neither"),
        (change(FULL, text="Jordan flies"), "to consist of 'words'"),
        (change(FULL, "words", text=" "), "at least one word"),
        (change(FULL, "words", text=7), "'text'"),
        (change(FULL, words=[]), "at least one word"),
        (change(FULL, words="Jordan lands"), "list"),
        (change(FULL, words=["Jordan", ""]), "not empty"),
        (change(FULL, words=["Jordan", 2]), "2 as word 1"),
        (change(FULL, words=["Jordan", None]), "None as word 1"),
        (change(FULL, words=["Jordan", "\ud800"]), "as word 1"),
        (change(FULL, image=7), "'image'"),
        (change(FULL, image=""), "picture file"),
        (change(FULL, image="../x.jpg"), "leads out of"),
        (change(FULL, image="/x.jpg"), "leads out of"),
        (change(FULL, image="a/../../x.jpg"), "leads out of"),
        (change(FULL, crops="x.jpg"), "'crops'"),
        (change(FULL, crops=[7]), "'crops'"),
        (change(FULL, crops=["ok.jpg", "../x.jpg"]), "leads out of"),
        (change(FULL, context=["a"]), "'context'"),
        (change(FULL, entities={}), "'entities'"),
        (change(FULL, entities=[[0, 1, "PER"]]), "'entities'"),
        (change(FULL, entities=[{"start": 0, "end": 1}]), "'type'"),
        (change(FULL, entities=[{"start": 0, "end": 1, "type": ""}]), "'type'"),
        (change(FULL, entities=[{"start": 0, "end": 1, "type": 7}]), "'type'"),
        (change(FULL, entities=[{"start": 0, "end": 3, "type": "PER"}]), "end 3"),
        (change(FULL, entities=[{"start": 1, "end": 1, "type": "PER"}]), "start 1, end 1"),
        (change(FULL, entities=[{"start": -1, "end": 1, "type": "PER"}]), "start -1"),
        (change(FULL, entities=[{"start": "0", "end": 1, "type": "PER"}]), "start '0'"),
        (change(FULL, entities=[{"start": False, "end": 1, "type": "PER"}]), "start False"),
        (
            change(
                FULL,
                entities=[{"start": 0, "end": 2, "type": "A"}, {"start": 1, "end": 2, "type": "B"}],
            ),
            "share",
        ),
        (change(FULL, relations=[{"head": {"start": 0, "end": 1}, "label": "x"}]), "'tail'"),
        (change(FULL, relations=[change(FULL["relations"][0], "label")]), "'label'"),
        (change(FULL, relations=[change(FULL["relations"][0], label=1)]), "'label'"),
        (
            change(FULL, relations=[change(FULL["relations"][0], tail={"start": 1, "end": 9})]),
            "end 9",
        ),
        (
            change(
                FULL,
                relations=[change(FULL["relations"][0], tail={"start": 1, "end": 2, "type": 3})],
            ),
            "'type'",
        ),
    ],
)
def test_malformed_lines(tmp_path, record, found):
    good = {"id": "g", "words": ["a"]}
    with pytest.raises(CorpusError, match=r"train\.jsonl:3: expected ") as error:
        write_jsonl(tmp_path, good, "", record).posts("train")
    message = str(error.value)
    assert found in message
    assert "\n" not in message
    assert len(message) < 600
    lenient = write_jsonl(tmp_path, good, record, good, strict=False)
    with pytest.warns(UserWarning, match="1 malformed posts skipped"):
        posts = lenient.posts("train")
    assert [post.id for post in posts] == ["g", "g#2"]
    assert len(lenient.skipped["train"]) == 1


def test_bytes_that_are_not_utf8_are_rejected(tmp_path):
    (tmp_path / "test.jsonl").write_bytes(b'{"id": "1", "words": ["\xe9"]}\n')
    with pytest.raises(CorpusError, match=r"test\.jsonl:1: expected UTF-8 text"):
        JsonlCorpus(tmp_path).posts("test")


def test_unknown_keys_are_named_once(tmp_path):
    read = write_jsonl(tmp_path, {**FULL, "entites": []}, {**FULL, "lang": "en"})
    with pytest.warns(UserWarning, match="unknown keys ignored: 'entites', 'lang'"):
        read.posts("train")


def test_labels_come_from_training_unless_given(tmp_path):
    write_jsonl(
        tmp_path, change(FULL, entities=[{"start": 0, "end": 1, "type": "NEW"}]), split="test"
    )
    read = write_jsonl(tmp_path, FULL)
    with pytest.warns(UserWarning, match="not in training, so never predicted: NEW"):
        (post,) = read.posts("test")
    assert post.entities == (Entity(0, 1, "NEW"),)
    assert read.entity_types == ("PER",)
    given = JsonlCorpus(
        tmp_path, entity_types=["NEW", "PER"], relation_labels=["z", "None", "/per/loc/at"]
    )
    assert given.entity_types == ("NEW", "PER")
    assert given.relation_labels == ("None", "z", "/per/loc/at")


def test_given_labels_must_include_those_of_training(tmp_path):
    read = write_jsonl(tmp_path, FULL, entity_types=["LOC"], relation_labels=["x"])
    with pytest.raises(CorpusError, match="entity_types lacks what the training split holds: PER"):
        _ = read.entity_types
    with pytest.raises(
        CorpusError, match="relation_labels lacks what the training split holds: /per/loc/at"
    ):
        _ = read.relation_labels


def test_given_labels_suffice_without_training(tmp_path):
    read = write_jsonl(tmp_path, FULL, split="test", entity_types=["PER"])
    assert read.splits == ("test",)
    assert read.tasks == ("ner",)
    with pytest.warns(UserWarning, match="/per/loc/at"):
        assert len(read.posts("test")) == 1
