"""Limits that would make requests impossible."""

import pytest

from mmie.app.limits import Limits


@pytest.mark.parametrize(
    "changes",
    [{"max_posts": 0}, {"linger": -1.0}, {"max_body": 200, "max_held": 100}],
    ids=str,
)
def test_impossible_limits_are_refused(changes):
    with pytest.raises(ValueError, match=r"limits\.\w+ is"):
        Limits(**changes)


def test_calls_may_be_computed_without_lingering():
    assert Limits(linger=0.0).linger == 0.0
