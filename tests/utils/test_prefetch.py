"""Prefetching of one result."""

import pytest

from mmie.utils.prefetch import prefetch


def test_results_have_the_order_of_the_items():
    squares = prefetch(lambda number: number**2, range(5))
    assert list(squares) == [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]
    assert list(prefetch(str, [])) == []


def test_at_most_one_item_is_ahead():
    taken = []

    def items():
        for number in range(10):
            taken.append(number)
            yield number

    for number, _ in prefetch(str, items()):
        assert len(taken) <= number + 2


def test_an_error_is_raised_where_its_result_would_be():
    def fail_at_two(number):
        if number == 2:
            raise KeyError(number)
        return number

    results = prefetch(fail_at_two, range(4))
    assert next(results) == (0, 0)
    assert next(results) == (1, 1)
    with pytest.raises(KeyError):
        next(results)
