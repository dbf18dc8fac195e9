"""Names that can only be folders, and what loading them says without asking the hub."""

import huggingface_hub.constants
import pytest

from mmie.blocks.clip import ClipVectors
from mmie.blocks.errors import WeightsUnavailable
from mmie.blocks.text_model_loading import load_text_model
from mmie.data.slow_tokenizers import TokenizerError
from mmie.data.tokenizer_files import load_tokenizer
from mmie.types import MmieError
from mmie.utils.model_names import is_missing_folder


@pytest.mark.parametrize(
    ("name", "is_missing"),
    [
        ("bert-base-uncased", False),
        ("owner/name", False),
        ("demo/encoder", True),
        ("demo/there", False),
        ("./there", True),
        ("~/nothing-of-this-name", True),
        ("/nothing-of-this-name", True),
        ("a/b/c", True),
    ],
)
def test_names_of_folders_are_told_from_names_of_the_hub(tmp_path, monkeypatch, name, is_missing):
    (tmp_path / "demo" / "there").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert is_missing_folder(name) == is_missing


@pytest.mark.parametrize(
    ("load", "error"),
    [
        (load_tokenizer, TokenizerError),
        (lambda name: load_text_model(name, pretrained=True), WeightsUnavailable),
        (ClipVectors, WeightsUnavailable),
    ],
)
def test_a_missing_folder_is_named_without_the_hub(monkeypatch, load, error):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.create_connection", pytest.fail)
    for name in ("./nothing", "/no/such/folder", "a/b/c/d"):
        with pytest.raises(error) as caught:
            load(name)
        assert isinstance(caught.value, MmieError)
        assert f"'{name}': there is no such folder; name one that exists" in str(caught.value)
        assert "\n" not in str(caught.value)
