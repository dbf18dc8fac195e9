"""Objects of modules that have been imported."""

import sys
from types import ModuleType

import pytest

from mmie.reports.imported import imported_object


def test_an_imported_object_is_found():
    assert imported_object("mmie.reports.imported.imported_object") is imported_object
    assert imported_object(f"{__name__}.pytest") is pytest


@pytest.mark.parametrize("path", ["antigravity.fly", "pytest.absent", "pytest", "", ".", "a..b"])
def test_nothing_is_imported(path):
    before = set(sys.modules)
    assert imported_object(path) is None
    assert set(sys.modules) == before


def test_a_module_that_imports_on_demand_is_not_asked(monkeypatch):
    lazy = ModuleType("lazy_module")
    lazy.__getattr__ = lambda name: pytest.fail(f"{name} was asked for")
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    assert imported_object("lazy_module.Corpus") is None
    monkeypatch.setitem(sys.modules, "no_module", None)
    assert imported_object("no_module.Corpus") is None
