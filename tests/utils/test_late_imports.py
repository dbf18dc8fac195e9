"""Names that packages import when they are first used."""

import importlib
import subprocess
import sys

import pytest

PACKAGES = ("mmie", "mmie.data", "mmie.inference", "mmie.methods", "mmie.metrics")


@pytest.mark.parametrize("package", PACKAGES)
def test_all_names_of_a_package_are_found_and_no_others(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name).__class__ is not None
    with pytest.raises(AttributeError, match=f"^module '{package}' has no attribute 'Nope'$"):
        _ = module.Nope


def test_a_package_does_not_import_what_is_not_used():
    code = "import sys, mmie.data, mmie.methods, mmie.inference; print('torch' in sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.stdout.strip() == "False"
