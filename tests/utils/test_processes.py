"""The first process of a run is known before a process group exists."""

import pytest
import torch
from torch import nn

from mmie.utils.processes import (
    _RANK_VARIABLES,
    SMALL_MODEL,
    THREAD_LIMIT,
    THREADS,
    count_cores,
    count_physical_cores,
    count_threads,
    is_first_process,
    limit_threads,
)

CORES = count_physical_cores()


@pytest.mark.parametrize("name", _RANK_VARIABLES)
def test_a_rank_above_0_is_not_the_first(name, monkeypatch):
    for variable in _RANK_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert is_first_process()
    monkeypatch.setenv(name, "0")
    assert is_first_process()
    monkeypatch.setenv(name, "1")
    assert not is_first_process()


@pytest.mark.parametrize(
    ("setting", "limit", "widths", "expected"),
    [
        ("", "", [10, 20], 1),
        ("", "", [10, SMALL_MODEL], CORES),
        ("", "1", [10, SMALL_MODEL], 1),
        ("", "1000", [SMALL_MODEL], CORES),
        ("3", "1", [10], 3),
        ("3", "1", [SMALL_MODEL], 3),
    ],
)
def test_the_size_of_the_models_decides_unless_the_user_has(
    monkeypatch, setting, limit, widths, expected
):
    monkeypatch.setenv(THREADS, setting)
    monkeypatch.delenv(THREAD_LIMIT, raising=False)
    if limit:
        monkeypatch.setenv(THREAD_LIMIT, limit)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)  # what torch has read in the user's setting
    try:
        limit_threads(*(nn.Linear(width, 1, device="meta") for width in widths))
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(threads)


def test_physical_cores_are_among_those_that_the_process_may_use():
    assert 1 <= count_physical_cores() <= count_cores()


@pytest.mark.parametrize(("named", "count"), [("3", 3), ("", None), ("0", None), ("2,1", None)])
def test_threads_of_other_libraries_are_those_that_the_environment_names(monkeypatch, named, count):
    monkeypatch.setenv("OMP_NUM_THREADS", named)
    assert count_threads() == (count or count_cores())
