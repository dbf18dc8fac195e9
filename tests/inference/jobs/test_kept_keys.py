"""Keys of posts in results: nothing is lost, and results are posts for training."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from mmie.data import JsonlCorpus
from mmie.data.post_json import parse_post
from mmie.inference.formats.text import from_json, to_json
from mmie.inference.jobs.kept_keys import KeptKeys, kept_keys
from mmie.inference.reading import read_post
from mmie.types import Entity, Extraction, Mention, Post, Relation

RECORD = {
    "id": "7",
    "text": "😂 Ann met Bob in Rome",
    "image": "images/7.jpg",
    "crops": ["crops/7_0.jpg"],
    "context": "a square",
    "entities": [{"start": 2, "end": 5, "type": "PER"}, {"start": 17, "end": 21, "type": "LOC"}],
    "relations": [
        {"head": {"start": 2, "end": 5}, "tail": {"start": 17, "end": 21}, "label": "in"}
    ],
    "url": "https://example.org/7",
    "likes": 3,
    "problems": ["of an earlier job"],
}


def extract(post: Post) -> Extraction:
    """Return an extraction with one mention, in place of those that the post brings."""
    read = read_post(post, 0, ()).post
    start = read.text.index("Bob")
    found = Mention("Bob", "PER", start, start + 3, 0.9)
    return Extraction(read.id, read.text, read.offsets, (found,), extra=read.extra)


def result_line(record: dict, folder: Path, out: Path) -> dict:
    """Return the line of results of a post that lies in a folder."""
    post = parse_post(json.dumps(record), folder, "1")
    return json.loads(json.dumps(to_json(KeptKeys(out).add(extract(post), post))))


def test_everything_but_the_answers_is_kept(tmp_path):
    line = result_line(RECORD, tmp_path / "data", tmp_path / "found.jsonl")
    for key in ("id", "text", "context", "url", "likes"):
        assert line[key] == RECORD[key]
    assert line["image"] == "data/images/7.jpg"
    assert line["crops"] == ["data/crops/7_0.jpg"]
    assert [entity["text"] for entity in line["entities"]] == ["Bob"]
    assert [entity["text"] for entity in line["gold_entities"]] == ["Ann", "Rome"]
    (relation,) = line["gold_relations"]
    assert (relation["head"]["text"], relation["label"]) == ("Ann", "in")
    assert line["input_problems"] == ["of an earlier job"]
    assert "problems" not in line
    assert "words" not in line


def test_results_are_posts_for_training(tmp_path):
    line = result_line(RECORD, tmp_path / "data", tmp_path / "train.jsonl")
    for name in (line["image"], *line["crops"]):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    del line["url"], line["likes"], line["input_problems"]
    (tmp_path / "train.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (post,) = JsonlCorpus(tmp_path, max_missing=1.0).posts("train")
    assert post.image == tmp_path / "data/images/7.jpg"
    assert (post.context, post.entities) == ("a square", (Entity(3, 4, "PER"),))
    assert post.extra == {key: line[key] for key in ("gold_entities", "gold_relations")}


def test_words_are_kept_if_the_text_would_be_split_differently(tmp_path):
    record = {
        "id": "7",
        "words": ["Don't", "Bob"],
        "entities": [{"start": 0, "end": 1, "type": "X"}],
    }
    line = result_line(record, tmp_path, tmp_path / "found.jsonl")
    assert (line["text"], line["words"]) == ("Don't Bob", ["Don't", "Bob"])
    assert line["gold_entities"] == [{"text": "Don't", "type": "X", "start": 0, "end": 5}]
    again = parse_post(json.dumps(line), tmp_path, "1")
    assert (again.words, again.entities) == (("Don't", "Bob"), (Entity(1, 2, "PER"),))
    assert to_json(from_json(line)) == line


def test_results_of_results_keep_both_golds(tmp_path):
    first = result_line(RECORD, tmp_path, tmp_path / "found.jsonl")
    second = result_line(first, tmp_path, tmp_path / "again.jsonl")
    assert second["gold_entities"][0]["text"] == "Bob"
    assert second["input_gold_entities"] == first["gold_entities"]
    third = result_line(second, tmp_path, tmp_path / "again.jsonl")
    assert third["input_input_gold_entities"] == first["gold_entities"]


def test_a_picture_outside_the_folder_of_results_is_named_once(tmp_path):
    post = parse_post(json.dumps(RECORD), tmp_path / "data", "1")
    keys = KeptKeys(tmp_path / "out" / "found.jsonl")
    with pytest.warns(UserWarning, match=r"7_?0?\.jpg lies outside") as caught:
        kept = [keys.add(extract(post), post) for _ in range(2)]
    assert len(caught) == 1
    image = kept[1].extra["image"]
    assert (tmp_path / "out" / image).resolve() == tmp_path / "data/images/7.jpg"


def test_an_extraction_that_failed_keeps_no_words():
    post = Post("7", ("a", "b"), entities=(Entity(0, 1, "X"),), extra={"url": "u"})
    post = replace(post, relations=(Relation(Entity(0, 1), Entity(1, 2), "in"),))
    failed = Extraction("7", "a b", (), problems=("post: failed",))
    assert kept_keys(failed, post, {}) == {"url": "u"}
