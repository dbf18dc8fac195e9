"""Errors of writing as one line."""

import pytest

from mmie.grounding.errors import GroundingError, write_errors
from mmie.utils.files import atomic_write_text


def test_error_of_writing_names_the_file_and_the_reason(tmp_path):
    (tmp_path / "folder").write_text("a file where the folder should be")
    file = tmp_path / "folder" / "index.jsonl"
    with (
        pytest.raises(
            GroundingError, match=r"index\.jsonl: cannot be written: (Not a dir|File exi)"
        ),
        write_errors(file),
    ):
        atomic_write_text(file, "text")


def test_other_errors_pass(tmp_path):
    with pytest.raises(KeyError), write_errors(tmp_path / "file"):
        raise KeyError
