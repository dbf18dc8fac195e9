"""Paths of the repository and of the real data beside it."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
REPOSITORY = TESTS.parent
PACKAGE = REPOSITORY / "mmie"
CONFIGS = REPOSITORY / "configs"
SHARED = REPOSITORY.parent / "shared"
SHARED_DATA = SHARED / "data"
"""Texts of the real corpora.

Most machines do not have them and skip the tests that read them.
"""
