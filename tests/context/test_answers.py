"""Cache of answers."""

import json

import pytest

from mmie.context.answers import AnswerCache

SETTINGS = {"model": "m", "template": "Caption: {text}"}


@pytest.fixture
def cache(tmp_path):
    return AnswerCache(tmp_path / "folder" / "answers.jsonl", SETTINGS, 100)


def again(cache, settings=SETTINGS, max_characters=100):
    """The cache of the same file, read again."""
    return AnswerCache(cache.file, settings, max_characters)


def test_answers_are_read_back(cache):
    key = cache.key({"text": "a"})
    assert cache.get(key) is None
    cache.add(key, "a çaption")
    cache.add(cache.key({"text": "b"}), "")
    assert again(cache).get(key) == "a çaption"
    assert again(cache).get(cache.key({"text": "b"})) == ""
    assert len(again(cache)) == 2


def test_a_key_depends_on_the_maker_and_the_subject(cache):
    other = again(cache, {**SETTINGS, "template": "Tell: {text}"})
    keys = {maker.key({"text": text}) for maker in (cache, other) for text in "ab"}
    assert len(keys) == 4


def test_the_file_tells_what_each_answer_was_made_with(cache):
    cache.add(cache.key({"text": "a"}), "1")
    cache.add(cache.key({"text": "b"}), "2")
    other = again(cache, {"model": "n"})
    other.add(other.key({"text": "a"}), "3")
    records = [json.loads(line) for line in cache.file.read_text().splitlines()]
    headers = {record["maker"]: record["settings"] for record in records if "settings" in record}
    assert list(headers.values()) == [SETTINGS, {"model": "n"}]
    made_with = [headers[record["maker"]]["model"] for record in records if "answer" in record]
    assert made_with == ["m", "m", "n"]


def test_an_answer_is_one_line_of_limited_length(cache):
    assert cache.add("k", " a\n\n b\ud83d ") == "a b?"
    assert cache.add("l", "x" * 200) == "x" * 100
    assert again(cache, max_characters=3).get("l") == "xxx"


def test_a_partial_last_line_is_ignored_and_ended(cache):
    cache.add("a", "1")
    cache.add("b", "2")
    cache.file.write_bytes(cache.file.read_bytes()[:-5])
    reread = again(cache)
    assert (reread.get("a"), reread.get("b")) == ("1", None)
    reread.add("b", "3")
    assert (again(cache).get("a"), again(cache).get("b")) == ("1", "3")


def test_changed_and_foreign_lines_are_ignored(cache):
    cache.add("a", "true")
    text = cache.file.read_text()
    foreign = '[]\n1\n{"key": 1, "answer": "x", "sum": ""}\n\n' + "[" * 100_000 + "\n"
    cache.file.write_text(text.replace('"true"', '"false"') + foreign)
    assert len(again(cache)) == 0


def test_the_first_answer_under_a_key_is_kept(cache):
    cache.add("a", "1")
    again(cache).add("a", "2")
    assert again(cache).get("a") == "1"


def test_a_link_in_place_of_the_file_is_not_written_through(cache, tmp_path):
    cache.file.parent.mkdir()
    (tmp_path / "other").write_text("")
    cache.file.symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match=r"answers\.jsonl"):
        cache.add("a", "1")
    assert (tmp_path / "other").read_text() == ""
