"""Contexts that a model writes."""

import pytest
from helpers.pictures import gradient_picture, save_picture

from mmie.context.answers import AnswerCache
from mmie.context.errors import ContextError
from mmie.context.generation import (
    GenerationSettings,
    Generator,
    generate_contexts,
    read_template,
)
from mmie.types import Post

SETTINGS = GenerationSettings("m", "Caption of {text}", max_side=30)


class Echo(Generator):
    """Answers with the prompt and the sizes of the pictures, up to a number of times."""

    def __init__(self, limit=100):
        self.prompts = []
        self.limit = limit

    def answer(self, prompt, pictures):
        if len(self.prompts) == self.limit:
            raise ContextError("limit")
        self.prompts.append(prompt)
        return f"{prompt}: {[picture.size for picture in pictures]}"


@pytest.fixture
def posts(tmp_path):
    """Three posts, of which the second has the text and the picture of the first."""
    first = save_picture(tmp_path / "a.png", gradient_picture(60, 40))
    copy = save_picture(tmp_path / "b.png", gradient_picture(60, 40))
    return [Post("1", ("a",), first), Post("2", ("a",), copy), Post("3", ("{text}",))]


def cache_of(folder, settings=SETTINGS):
    return AnswerCache(folder / "answers.jsonl", settings.to_json(), 200)


EXPECTED = {
    "1": "Caption of a: [(30, 20)]",
    "2": "Caption of a: [(30, 20)]",
    "3": "Caption of {text}: []",
}


def test_each_text_with_its_pictures_is_asked_about_once(posts, tmp_path):
    echo = Echo()
    assert generate_contexts(posts, SETTINGS, cache_of(tmp_path), echo) == EXPECTED
    assert echo.prompts == ["Caption of a", "Caption of {text}"]


def test_answers_are_replayed_without_a_model(posts, tmp_path):
    generate_contexts(posts, SETTINGS, cache_of(tmp_path), Echo())
    assert generate_contexts(posts, SETTINGS, cache_of(tmp_path), None) == EXPECTED


def test_missing_answers_are_counted_without_a_model(posts, tmp_path):
    with pytest.raises(ContextError, match="for 2 texts, among them that of post 1"):
        generate_contexts(posts, SETTINGS, cache_of(tmp_path), None)


def test_answers_are_kept_when_the_model_fails(posts, tmp_path):
    with pytest.raises(ContextError, match="limit"):
        generate_contexts(posts, SETTINGS, cache_of(tmp_path), Echo(limit=1))
    echo = Echo()
    assert generate_contexts(posts, SETTINGS, cache_of(tmp_path), echo) == EXPECTED
    assert echo.prompts == ["Caption of {text}"]


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"template": "{text}"},
        {"max_tokens": 1},
        {"temperature": 1.0},
        {"max_side": 9},
    ],
)
def test_other_settings_ask_again(posts, tmp_path, change):
    generate_contexts(posts, SETTINGS, cache_of(tmp_path), Echo())
    changed = GenerationSettings(**{**vars_of(SETTINGS), **change})
    with pytest.raises(ContextError):
        generate_contexts(posts, changed, cache_of(tmp_path, changed), None)


def vars_of(settings):
    """The settings as keyword arguments."""
    return {name: value for name, value in settings.to_json().items() if name != "maker"}


def test_pictures_can_be_left_out(posts, tmp_path):
    settings = GenerationSettings("m", "{text}", max_side=0)
    answers = generate_contexts(posts, settings, cache_of(tmp_path, settings), Echo())
    assert answers == {"1": "a: []", "2": "a: []", "3": "{text}: []"}


def test_empty_answers_give_no_context(posts, tmp_path):
    cache = cache_of(tmp_path)
    generate_contexts(posts, SETTINGS, cache, Echo())
    empty = AnswerCache(tmp_path / "other.jsonl", SETTINGS.to_json(), 0)

    class Silent(Echo):
        def answer(self, prompt, pictures):
            return " "

    assert generate_contexts(posts, SETTINGS, empty, Silent()) == {}


def test_templates_are_read_from_files(tmp_path):
    (tmp_path / "prompt.txt").write_text(" Caption of {text}\n")
    assert read_template(tmp_path / "prompt.txt") == "Caption of {text}"
    with pytest.raises(ContextError, match=r"missing\.txt: cannot be read"):
        read_template(tmp_path / "missing.txt")
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(ContextError, match="UTF-8"):
        read_template(tmp_path / "bad.txt")
