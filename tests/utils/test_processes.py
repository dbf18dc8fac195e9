"""The first process of a run is known before a process group exists."""

import pytest

from mmie.utils.processes import _RANK_VARIABLES, is_first_process


@pytest.mark.parametrize("name", _RANK_VARIABLES)
def test_a_rank_above_0_is_not_the_first(name, monkeypatch):
    for variable in _RANK_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert is_first_process()
    monkeypatch.setenv(name, "0")
    assert is_first_process()
    monkeypatch.setenv(name, "1")
    assert not is_first_process()
