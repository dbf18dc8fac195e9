"""The first process of a run is known before a process group exists."""

import pytest
import torch
from torch import nn

from mmie.utils.processes import (
    _RANK_VARIABLES,
    SMALL_MODEL,
    THREADS,
    is_first_process,
    limit_threads,
)


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
    ("setting", "widths", "expected"),
    [
        ("", [10, 20], 1),
        ("", [10, SMALL_MODEL], 2),
        ("2", [10], 2),
    ],
)
def test_small_models_compute_with_one_thread(monkeypatch, setting, widths, expected):
    monkeypatch.setenv(THREADS, setting)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        limit_threads(*(nn.Linear(width, 1, device="meta") for width in widths))
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(threads)
