"""Import of optional packages."""

import math

import pytest

from mmie.utils.optional import MissingPackageError, require


def test_an_installed_module_is_returned():
    assert require("math", "graph") is math


def test_a_missing_module_names_the_extra_that_installs_it():
    with pytest.raises(MissingPackageError, match=r"'not_here' is not installed: .*mmie\[graph\]"):
        require("not_here.part", "graph")
