"""JSON of other programs: keys that are found, spans in words or characters, MNRE."""

import json

import pytest
from helpers.formats import EXPECTED, JSON_RECORDS, SPERT, read, tagged, write_text

from mmie.formats import FormatError


@pytest.mark.parametrize("name", JSON_RECORDS)
@pytest.mark.parametrize("form", ["array", "lines", "object"])
def test_records(tmp_path, name, form):
    record = JSON_RECORDS[name]
    texts = {
        "array": json.dumps([record, record], indent=1),
        "lines": f"{json.dumps(record)}\n\n{json.dumps(record)}\n",
        "object": json.dumps({"data": [record, record], "version": 1}),
    }
    file = write_text(tmp_path / "posts.json", texts[form])
    posts, bad, notes = read(file, "json", tag_names=("O", "B-PER", "B-LOC"))
    assert [tagged(post) for post in posts] == [EXPECTED] * 2
    assert bad == []
    assert "in key" in notes.found[-1]


def test_relations_name_their_entities_by_index(tmp_path):
    (post,), _, notes = read(write_text(tmp_path / "posts.json", json.dumps([SPERT])))
    (relation,) = post["relations"]
    assert relation["head"] == {"start": 0, "end": 1, "type": "PER"}
    assert (relation["tail"]["type"], relation["label"]) == ("LOC", "in")
    assert notes.unused == {"key 'orig_id'": 1}


def test_several_pictures_of_a_record(tmp_path):
    files = [write_text(tmp_path / name, "") for name in ("7.jpg", "8.png")]
    records = [
        {"text": "a", "images": ["7", "8.png", "9"]},
        {"text": "b", "image": ["7.jpg", "8"]},
        {"text": "c", "pictures": "7"},
    ]
    for record in records:
        file = write_text(tmp_path / "posts.json", json.dumps([record]))
        (post,), bad, notes = read(file, "json")
        expected = [*files, "9"] if record["text"] == "a" else files
        assert post.get("images") == (None if record["text"] == "c" else expected)
        assert post.get("image") == (files[0] if record["text"] == "c" else None)
        assert (bad, notes.unused) == ([], {})


def test_keys_are_set(tmp_path):
    record = {"headline": "news", "abstract": "Ann in Rome", "image_id": "7", "caption": "a jet"}
    file = write_text(tmp_path / "news.json", json.dumps([record]))
    picture = write_text(tmp_path / "images" / "7.jpg", "")
    (post,), _, notes = read(file, columns={"text": "abstract"})
    assert post == {"id": "1", "text": "Ann in Rome", "context": "a jet", "image": picture}
    assert notes.unused == {"key 'headline'": 1}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (3, "expected a JSON object"),
        ({"id": 1}, "expected words or a text"),
        ({"tokens": ["a"], "ner_tags": ["O", "O"]}, "expected 1 tags, found 2"),
        ({"tokens": ["a"], "ner_tags": [0]}, "expected tags by name, or --tag_names"),
        ({"tokens": ["a"], "ner_tags": ["X"]}, "expected a tag such as O"),
        ({"tokens": ["a"], "ner_tags": None, "relations": [{"head": 5}]}, "index or id of an"),
    ],
)
def test_a_wrong_record_is_named(tmp_path, record, reason):
    good = {"tokens": ["Ann"], "ner_tags": ["B-PER"]}
    file = write_text(tmp_path / "posts.json", json.dumps([good, record]))
    posts, (bad,), _ = read(file)
    assert (len(posts), bad.place) == (1, "record 2")
    assert reason in bad.reason


def test_a_text_that_differs_from_its_offsets_is_named(tmp_path):
    entity = {"start": 0, "end": 2, "label": "PER", "text": "Ann"}
    file = write_text(tmp_path / "a.json", json.dumps([{"text": "Ann is", "entities": [entity]}]))
    posts, (bad,), _ = read(file)
    assert posts == []
    assert "expected the text 'Ann' of an entity at 0 to 2 (exclusive)" in bad.reason


@pytest.mark.parametrize("text", ["[1", "3", '{"a": [1]}', '[{"url": "x"}]', ""])
def test_what_is_no_list_of_posts_is_refused(tmp_path, text):
    with pytest.raises(FormatError, match="expected"):
        read(write_text(tmp_path / "posts.json", text), "json")


def test_mnre(shared_data):
    posts, bad, notes = read(shared_data / "mnre" / "mnre_val.txt")
    assert (len(posts), bad, notes.unused) == (1624, [], {})
    assert all(len(post["relations"]) == 1 for post in posts)
    assert posts[0]["relations"][0]["head"].keys() >= {"start", "end"}


def test_ids_of_tags_may_be_texts(tmp_path):
    record = {"tokens": ["Ann", "left"], "ner_tags": ["1", "0"]}
    file = write_text(tmp_path / "posts.json", json.dumps([record]))
    (post,), _, _ = read(file, "json", tag_names=("O", "B-PER"))
    assert post["entities"] == [{"start": 0, "end": 1, "type": "PER"}]
    posts, (bad,), _ = read(file, "json")
    assert posts == []
    assert "a tag such as O, B-PER or I-LOC" in bad.reason
