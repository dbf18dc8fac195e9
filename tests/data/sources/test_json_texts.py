"""Texts of JSON posts."""

import pytest

from mmie.data.parsing import MalformedLine
from mmie.data.sources.json_texts import split_json


def texts(text, **settings):
    return list(split_json(text.splitlines(keepends=True), **settings))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}\n\n{"b"\n{"c": 3}\r\n', [(1, '{"a": 1}'), (3, '{"b"'), (4, '{"c": 3}')]),
        ('[{"a": 1}, {"b": [2]}]', [(1, '{"a": 1}'), (2, '{"b": [2]}')]),
        ('\n[\n {"a":\n 1}\n,{}]\n', [(1, '{"a":\n 1}'), (2, "{}")]),
        ('{\n"a": 1}\n{\n"b": 2\n}', [(1, '{\n"a": 1}'), (2, '{\n"b": 2\n}')]),
        ("[]", [(1, "[]")]),
        ("", []),
        ('{"a": 1\n{"b": 2}\n', [(1, '{"a": 1'), (2, '{"b": 2}')]),
        ('[1, 2\n{"b": 2}\n', [(1, "[1, 2"), (2, '{"b": 2}')]),
        ("[" * 100_000, [(1, "[" * 100_000)]),
    ],
)
def test_forms(text, expected):
    assert texts(text) == expected


@pytest.mark.parametrize("text", ["[1,", "[1 2]", '[{"a": 1}\n {"b": 2}]', "[1]]"])
def test_a_document_that_is_no_array(text):
    with pytest.raises(MalformedLine, match="expected a JSON array"):
        texts(text, is_document=True)


def test_an_array_of_other_values_in_a_document():
    assert texts("[]", is_document=True) == []
    assert texts('[{"a": 1},\n3]', is_document=True) == [(1, '{"a": 1}'), (2, "3")]


@pytest.mark.parametrize("first", ["[]", '[{"text": "a"}, {"text": "b"}]', "[1]"])
def test_an_array_before_other_lines_is_a_line(first):
    lines = [f"{first}\n", '{"text": "c"}\n']
    assert [item.text for item in split_json(lines)] == [first, '{"text": "c"}']
    with pytest.raises(MalformedLine, match="Extra data"):
        list(split_json(lines, is_document=True))
