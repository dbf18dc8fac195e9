"""Tokenizers that several files of tests use."""

import pytest
from helpers.encodings import FAMILIES, write_encoders

from mmie.data.encoding import WordTokenizer


@pytest.fixture(scope="session")
def encoder_folders(tmp_path_factory):
    """Folders of tiny encoders by family."""
    return write_encoders(tmp_path_factory.mktemp("encoders"))


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request, encoder_folders):
    """A tokenizer of each family."""
    return WordTokenizer.from_source(encoder_folders[request.param], 128)


@pytest.fixture(scope="module")
def bert(encoder_folders):
    """A tokenizer of BERT's family."""
    return WordTokenizer.from_source(encoder_folders["bert"], 64)
