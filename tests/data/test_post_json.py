"""Posts as JSON objects: reading and writing agree, and own posts need little."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.parsing import MalformedLine
from mmie.data.post_json import KEYS, parse_post, parse_record, post_from_json, post_to_json
from mmie.types import Entity, Post, Relation

spans = st.tuples(st.integers(0, 3), st.integers(1, 4)).filter(lambda span: span[0] < span[1])
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
arguments = st.builds(lambda span, kind: Entity(*span, kind), spans, st.one_of(st.just(""), names))
posts = st.builds(
    Post,
    id=names,
    words=st.lists(names, min_size=4, max_size=6).map(tuple),
    image=st.sampled_from([None, "a.jpg", "b/ü c.png"]),
    more_images=st.lists(st.sampled_from(["c.jpg", "d/e.jpg"]), unique=True).map(tuple),
    crops=st.lists(st.sampled_from(["x.jpg", "y/z.jpg"]), max_size=2).map(tuple),
    context=st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
    entities=st.lists(names, max_size=4).map(
        lambda kinds: tuple(Entity(i, i + 1, kind) for i, kind in enumerate(kinds))
    ),
    relations=st.lists(st.builds(Relation, arguments, arguments, names), max_size=2).map(tuple),
)


@given(post=posts)
def test_reading_inverts_writing(tmp_path_factory, post):
    root = tmp_path_factory.mktemp("corpus")
    first, *further = *(root / image for image in post.images), None
    post = replace(post, image=first, more_images=tuple(further[:-1]))
    post = replace(post, crops=tuple(root / crop for crop in post.crops))
    line = json.loads(json.dumps(post_to_json(post, root)))
    assert post_from_json(line, root) == post
    (root / "train.jsonl").write_text(json.dumps(line), encoding="utf-8")
    assert JsonlCorpus(root).posts("train") == [post]


def test_pictures_outside_the_root_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="expected a picture inside"):
        post_to_json(Post(id="1", words=("a",), image=tmp_path / "x.jpg"), tmp_path / "corpus")


def test_a_record_is_one_json_object():
    assert parse_record('{"id": 1}') == {"id": 1}
    for line in ("[1]", "{", "7", '{"a": 1, "a": 2}', "[" * 100_000):
        with pytest.raises(MalformedLine, match=r"^expected (a JSON object|each key once), found"):
            parse_record(line)


def test_own_posts_need_no_id(tmp_path):
    post = parse_post('{"text": "Jordan lands", "image": "a.jpg"}', tmp_path, "7")
    assert (post.id, post.words, post.image) == ("7", ("Jordan", "lands"), tmp_path / "a.jpg")
    assert (post.text, post.offsets) == ("Jordan lands", ((0, 6), (7, 12)))
    assert parse_post('{"id": 3, "words": ["a"]}', tmp_path, "7").id == "3"
    assert parse_post('{"id": null, "words": ["a"]}', tmp_path, "7").id == "7"


def test_own_posts_need_no_words(tmp_path):
    post = parse_post('{"text": " ", "image": "a.jpg"}', tmp_path, "7")
    assert post == Post("7", text=" ", image=tmp_path / "a.jpg")
    with pytest.raises(MalformedLine, match="at least one word"):
        post_from_json({"id": "7", "text": " "}, tmp_path)
    with pytest.raises(MalformedLine, match="to consist of 'words', with 'a' next"):
        parse_post('{"text": " ", "words": ["a"]}', tmp_path, "7")


def test_text_beside_words_counts_characters(tmp_path):
    entity = {"start": 3, "end": 7, "type": "LOC"}
    record = {"id": "7", "text": "😂  U.S. ", "words": ["😂", "U.S."], "entities": [entity]}
    post = post_from_json(record, tmp_path)
    assert (post.words, post.offsets) == (("😂", "U.S."), ((0, 1), (3, 7)))
    assert post.entities == (Entity(1, 2, "LOC"),)
    assert post.text == record["text"]


def test_unknown_keys_are_kept(tmp_path):
    extra = {"url": "https://x", "null": None, "nested": [{"a": [1]}], "problems": []}
    post = parse_post(json.dumps({"text": "a", "context": None, **extra}), tmp_path, "7")
    assert post.extra == extra
    assert hash(post) == hash(replace(post, extra={}))
    assert parse_post('{"text": "", "b": 1, "context": "c"}', tmp_path, "7") == Post(
        "7", text="", context="c", extra={"b": 1}
    )
    assert post_to_json(replace(post, extra={"b": 1, "id": "other"}), tmp_path) == {
        "id": "7",
        "words": ["a"],
        "b": 1,
    }


def test_unknown_keys_are_not_nested_deeply(tmp_path):
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        fine, deep = opening * 100 + "1" + closing * 100, opening * 101 + "1" + closing * 101
        parse_post(f'{{"text": "a", "b": {fine}}}', tmp_path, "7")
        with pytest.raises(MalformedLine, match="'b' to be nested at most 100 deep"):
            parse_post(f'{{"text": "a", "b": {deep}}}', tmp_path, "7")


def test_unknown_keys_of_own_posts_are_collected(tmp_path):
    ignored = {"old"}
    record = {**dict.fromkeys(KEYS), "text": "a", "img": "b", "lang": "en"}
    parse_post(json.dumps(record), tmp_path, "7", ignored)
    assert ignored == {"old", "img", "lang"}


def test_arguments_take_the_types_of_entities(tmp_path):
    spans = [{"start": 0, "end": 1}, {"start": 1, "end": 2}]
    record = {
        "id": "7",
        "words": ["a", "b"],
        "entities": [{**spans[0], "type": "PER"}],
        "relations": [
            {"head": spans[0], "tail": spans[1], "label": "x"},
            {"head": {**spans[0], "type": ""}, "tail": {**spans[1], "type": "LOC"}, "label": "x"},
        ],
    }
    post = post_from_json(record, tmp_path)
    assert post.relations == (
        Relation(Entity(0, 1, "PER"), Entity(1, 2), "x"),
        Relation(Entity(0, 1), Entity(1, 2, "LOC"), "x"),
    )
    assert post_to_json(post, tmp_path) == record


@pytest.mark.parametrize(
    ("record", "names"),
    [
        ({"images": ["a.jpg", "b.jpg"]}, ["a.jpg", "b.jpg"]),
        ({"image": "c.jpg", "images": ["a.jpg"]}, ["c.jpg", "a.jpg"]),
        ({"image": "a.jpg", "images": ["a.jpg", "b.jpg", "b.jpg"]}, ["a.jpg", "b.jpg"]),
        ({"image": "a.jpg", "images": []}, ["a.jpg"]),
        ({"images": None}, []),
    ],
)
def test_several_pictures(tmp_path, record, names):
    for text in ({"words": ["x"]}, {"text": ""}):
        post = parse_post(json.dumps({"id": "1", **text, **record}), tmp_path, "1")
        assert post.images == tuple(tmp_path / name for name in names)
        assert post.image == (post.images[0] if names else None)


@pytest.mark.parametrize("images", ["a.jpg", [1], {"a": "b"}, ["../a.jpg"], [""]])
def test_pictures_that_are_no_list_of_paths_inside_the_folder_are_rejected(tmp_path, images):
    with pytest.raises(MalformedLine, match=r"'images' to be a list of paths|a picture"):
        parse_post(json.dumps({"text": "x", "images": images}), tmp_path, "1")
