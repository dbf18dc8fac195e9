"""Loading of text models from folders, mappings and unreachable sources."""

import copy
import json

import pytest
import torch
from helpers.text_encoders import (
    BERT,
    FAMILIES,
    HEAD,
    HEADS,
    LAYERS,
    TOKENS,
    assert_short_line,
    make_config,
    make_text,
    save_text_model,
)
from transformers import AutoModel

from mmie.blocks.errors import WeightsUnavailable, unavailable_message
from mmie.blocks.text_encoder import TextEncoder


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.mark.parametrize("kind", [str, lambda folder: folder], ids=["str", "Path"])
def test_folder_with_weights(tmp_path, family, kind):
    saved = save_text_model(tmp_path, FAMILIES[family])
    encoder = TextEncoder(kind(tmp_path))
    for name, weight in encoder.model.state_dict().items():
        assert torch.equal(weight, saved.state_dict()[name]), name
    ids, mask, segments = make_text()
    expected = saved(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(encoder.eval()(ids, mask, segments), expected)


def test_folder_with_a_configuration_only(tmp_path, family):
    make_config(FAMILIES[family]).save_pretrained(tmp_path)
    encoder = TextEncoder(str(tmp_path), pretrained=False)
    assert encoder.config.model_type == family
    sizes = (encoder.hidden_size, encoder.num_layers, encoder.num_heads)
    assert sizes == (HEADS * HEAD, LAYERS, HEADS)
    assert encoder(*make_text()).shape == (2, TOKENS, HEADS * HEAD)


def test_not_pretrained_ignores_weights_in_the_folder(tmp_path):
    saved = save_text_model(tmp_path)
    encoder = TextEncoder(tmp_path, pretrained=False)
    name = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(encoder.model.state_dict()[name], saved.state_dict()[name])


def test_mapping_is_not_changed(family):
    settings = copy.deepcopy(FAMILIES[family])
    encoder = TextEncoder(settings, pretrained=False)
    assert settings == FAMILIES[family]
    assert encoder.config.model_type == family
    assert encoder(*make_text()).shape == (2, TOKENS, HEADS * HEAD)


@pytest.mark.parametrize("pretrained", [True, False])
def test_weights_are_float32_whatever_the_published_dtype(tmp_path, pretrained):
    save_text_model(tmp_path, dtype=torch.bfloat16)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    encoder = TextEncoder(tmp_path, pretrained)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    mapping = TextEncoder({**BERT, "dtype": "float16"}, pretrained=False)
    assert {parameter.dtype for parameter in mapping.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("mapping", "pretrained", "message"),
    [
        (BERT, True, "pretrained: false"),
        ({"hidden_size": 8}, False, "needs a model_type"),
        ({}, False, "needs a model_type"),
        ({"model_type": "nosuch"}, False, "model_type 'nosuch'.*transformers does not know"),
    ],
)
def test_invalid_mapping_raises(mapping, pretrained, message):
    with pytest.raises(ValueError, match=message) as caught:
        TextEncoder(mapping, pretrained)
    assert_short_line(caught.value)


@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize("source", ["no-such-model", "nobody/no-such-model"])
def test_unreachable_source_raises(source, pretrained):
    with pytest.raises(
        WeightsUnavailable, match=rf"text encoder '{source}'.*name a folder.*pretrained: false"
    ) as caught:
        TextEncoder(source, pretrained)
    assert_short_line(caught.value)
    assert str(caught.value) == unavailable_message("text encoder", source, pretrained)


def remove_weights(folder):
    (folder / "model.safetensors").unlink()


def remove_everything(folder):
    for file in folder.iterdir():
        file.unlink()


def truncate_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])


def remove_config(folder):
    (folder / "config.json").unlink()


def break_config(folder):
    (folder / "config.json").write_text("{")


def change_width(folder):
    edit_config(folder, hidden_size=16)


def change_type(folder):
    edit_config(folder, model_type="nosuch")


def edit_config(folder, **changes):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, **changes}))


DAMAGES = [
    remove_weights,
    remove_everything,
    truncate_weights,
    remove_config,
    break_config,
    change_width,
    change_type,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folder_raises(tmp_path, damage):
    save_text_model(tmp_path)
    damage(tmp_path)
    with pytest.raises(
        WeightsUnavailable, match=r"the folder holds no model.*config\.json and model\.safetensors"
    ) as e:
        TextEncoder(tmp_path)
    assert str(tmp_path) in str(e.value)
    assert_short_line(e.value)


@pytest.mark.parametrize("damage", [remove_everything, remove_config, break_config, change_type])
def test_damaged_configuration_raises(tmp_path, damage):
    save_text_model(tmp_path)
    damage(tmp_path)
    with pytest.raises(WeightsUnavailable, match=r"needed: config\.json;"):
        TextEncoder(tmp_path, pretrained=False)


def test_weights_of_another_model_raise(tmp_path):
    save_text_model(tmp_path, {**BERT, "num_hidden_layers": 1})
    edit_config(tmp_path, num_hidden_layers=2)
    with pytest.raises(
        WeightsUnavailable, match=r"lack 16 tensors, among them encoder\.layer\.1\."
    ) as caught:
        TextEncoder(tmp_path)
    assert_short_line(caught.value)


def test_weights_without_pooler_are_complete(tmp_path, family):
    model = AutoModel.from_config(make_config(FAMILIES[family]), add_pooling_layer=False)
    model.save_pretrained(tmp_path)
    assert torch.equal(
        TextEncoder(tmp_path).model.state_dict()["embeddings.LayerNorm.weight"], torch.ones(8)
    )
