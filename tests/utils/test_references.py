"""References to files, repositories and code in foreign configurations."""

import pytest

from mmie.utils.references import find_file_reference, find_reference, without_origin


@pytest.mark.parametrize(
    "config",
    [
        {"auto_map": {"AutoModel": "own.Model"}},
        {"auto_map": {"AutoModel": "owner/name--own.Model"}},
        {"layers": [{"sub": {"auto_map": {"AutoConfig": "x.y"}}}]},
        {"backbone": "resnet50"},
        {"text_config": {"use_pretrained_backbone": True}},
        {"_attn_implementation": "owner/kernel"},
        {"architecture": "hf-hub:owner"},
        {"index": "C:\\index"},
        {"vocab_file": "vocab"},
        {"anything": "~"},
        {"anything": ["..", 1]},
    ],
)
def test_references_are_found(config):
    assert find_reference(config) is not None
    assert "\n" not in str(find_reference(config))


def test_a_complete_configuration_has_none():
    config = {
        "model_type": "bert",
        "hidden_act": "gelu_new",
        "auto_map": None,
        "backbone": None,
        "id2label": {"0": "/per/loc/at"},
        "layer_types": ["full_attention"],
        "dtype": "float32",
        "layer_norm_eps": 1e-12,
    }
    assert find_reference(config) is None


def test_settings_of_tokenizers_may_hold_tokens_that_look_like_paths():
    assert find_file_reference({"eos_token": "</s>", "model_max_length": 64}) is None
    assert find_file_reference({"tokenizer_file": None}) is None
    assert find_file_reference({"vocab_file": "/etc/passwd"}) is not None
    assert find_file_reference([{"auto_map": {"AutoTokenizer": ["a.b", None]}}]) is not None


def test_origins_are_removed_at_any_depth():
    config = {"_name_or_path": "a", "sub": {"name_or_path": "b", "kept": ({"_name_or_path": 1},)}}
    assert without_origin(config) == {"sub": {"kept": [{}]}}
