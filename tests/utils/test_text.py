"""Short renderings of values, texts and errors."""

import sys

import pytest

from mmie.utils.text import describe_error, first_line, safe_repr, truncate


@pytest.mark.parametrize("length", [0, 1, 159, 160, 161, 1000])
def test_a_text_is_cut_to_its_limit(length):
    text = "x" * length
    short = truncate(text)
    assert len(short) == min(length, 160)
    assert short == text or short.endswith("...")


def test_values_without_a_repr_are_named_by_their_type():
    nested = []
    for _ in range(sys.getrecursionlimit() * 2):
        nested = [nested]
    assert safe_repr(nested) == "a list too large to show"
    assert safe_repr(10**5000) == "a int too large to show"
    assert safe_repr("a") == "'a'"


def test_errors_are_reduced_to_one_line():
    error = ValueError("\n  first\nsecond")
    assert first_line(error) == "first"
    assert describe_error(error) == "ValueError: first"
    for describe in (first_line, describe_error):
        assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert len(describe_error(ValueError("x" * 1000))) == len("ValueError: ") + 200
