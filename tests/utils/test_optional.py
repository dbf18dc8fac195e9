"""A missing package of an extra is reported in one line."""

import pytest

from mmie.utils.optional import MissingPackageError, require


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(
        MissingPackageError,
        match=r"^package 'no_such_package' is not .*: pip install 'mmie\[graph\]'$",
    ):
        require("no_such_package.part", "graph")
