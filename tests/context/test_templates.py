"""Templates with gaps."""

import pytest

from mmie.context.errors import ContextError
from mmie.context.templates import check_template, fill_template


def test_values_are_not_read_as_templates():
    filled = fill_template("{text} | {labels}", {"text": "{labels}{text}{0}", "labels": "x"})
    assert filled == "{labels}{text}{0} | x"


def test_braces_that_are_no_gaps_stay():
    assert fill_template('{"a": 1} {text}', {"text": "b"}) == '{"a": 1} b'


@pytest.mark.parametrize(
    ("template", "reason"), [("{txt}", "has {txt}: expected {text}"), ("text", "no gap")]
)
def test_templates_with_other_gaps_or_none_are_refused(template, reason):
    with pytest.raises(ContextError, match=reason):
        check_template(template, ["text"])
