"""Which encoders read a prefix, layer by layer."""

import pytest
import torch
from helpers.text_encoders import BERT, LAYERS, make_prefix, make_text
from transformers import AutoModel, DistilBertConfig

from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.prefix_support import number_attention, prefix_obstacle
from mmie.blocks.text_encoder import TextEncoder


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "modernbert", "nomic_bert"])
def test_every_layer_reads_its_own_prefix(model_type):
    torch.manual_seed(0)
    settings = {**BERT, "model_type": model_type, "pad_token_id": 0}
    encoder = TextEncoder(settings, pretrained=False).eval()
    prefix = make_prefix()
    keys = prefix.keys.clone().requires_grad_()
    values = prefix.values.clone().requires_grad_()
    encoder(*make_text(), Prefix(keys, values))[..., 0].sum().backward()
    for gradient in (keys.grad, values.grad):
        assert gradient.ne(0).flatten(1).any(1).tolist() == [True] * LAYERS


@pytest.mark.parametrize("model_type", ["distilbert", "modernbert"])
def test_masked_prefix_has_no_influence(model_type):
    settings = {**BERT, "model_type": model_type, "pad_token_id": 0}
    encoder = TextEncoder(settings, pretrained=False).eval()
    prefix = make_prefix()
    prefix.mask = torch.zeros(2, prefix.length, dtype=torch.bool)
    with torch.no_grad():
        torch.testing.assert_close(encoder(*make_text(), prefix), encoder(*make_text()))


def test_attention_is_numbered_in_the_order_of_the_layers():
    model = AutoModel.from_config(DistilBertConfig(vocab_size=9, dim=8, n_heads=2, n_layers=3))
    assert "attention of their own" in prefix_obstacle(model)
    number_attention(model)
    assert [layer.attention.layer_idx for layer in model.transformer.layer] == [0, 1, 2]


def test_shared_attention_is_not_numbered():
    encoder = TextEncoder({**BERT, "model_type": "albert"}, pretrained=False)
    assert "share one attention" in prefix_obstacle(encoder.model)
