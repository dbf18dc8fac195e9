"""A text encoder run layer by layer against the encoder itself."""

import pytest
import torch

from mmie.blocks.text_encoder import TextEncoder
from mmie.blocks.text_layers import embed_text, layer_mask, text_layers

SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
}
SIZES |= {"vocab_size": 50, "max_position_embeddings": 40, "pad_token_id": 0}
TYPES = {"bert": {}, "roberta": {"type_vocab_size": 1}, "xlm-roberta": {"type_vocab_size": 1}}


@pytest.fixture(params=TYPES, ids=str)
def text(request):
    torch.manual_seed(0)
    return TextEncoder(
        {"model_type": request.param, **SIZES, **TYPES[request.param]}, pretrained=False
    ).eval()


def inputs(padded):
    mask = torch.arange(9) < torch.tensor([[9], [6 if padded else 9]])
    ids = torch.randint(1, 50, (2, 9), generator=torch.Generator().manual_seed(1)) * mask
    segments = torch.tensor([0] * 5 + [1] * 4).expand(2, -1) * mask
    return ids, mask, segments


def run_layers(text, ids, mask, segments, split, added=None):
    """Compute the states after all layers, each run whole or in its two parts."""
    states = embed_text(text, ids, segments, added)
    attention_mask = layer_mask(text, states, mask)
    for layer in text_layers(text):
        if split:
            states = layer.feed_forward_chunk(layer.attention(states, attention_mask)[0])
        else:
            states = layer(states, attention_mask)
    return states


@pytest.mark.parametrize("split", [False, True], ids=["whole", "in parts"])
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
def test_running_all_layers_equals_the_encoder(text, padded, split):
    ids, mask, segments = inputs(padded)
    with torch.no_grad():
        assert torch.equal(run_layers(text, ids, mask, segments, split), text(ids, mask, segments))


def test_addend_is_added_to_the_token_embeddings(text):
    ids, mask, segments = inputs(padded=True)
    added = torch.randn(2, 9, 24)
    embedding = text.model.get_input_embeddings().weight
    with torch.no_grad():
        shifted = run_layers(text, ids, mask, segments, False, embedding[3] - embedding[ids])
        torch.testing.assert_close(shifted[0], text(torch.full_like(ids, 3), mask, segments)[0])
        assert not torch.allclose(
            run_layers(text, ids, mask, segments, False, added), text(ids, mask, segments)
        )


@pytest.mark.parametrize("model_type", ["roformer", "big_bird", "modernbert", "deberta-v2"])
def test_layers_that_take_more_than_states_and_mask_raise(model_type):
    """RoFormer's have the same names, and rotate by positions that they would not get."""
    text = TextEncoder({"model_type": model_type, **SIZES}, pretrained=False)
    with pytest.raises(ValueError, match=f"'{model_type}' cannot be walked through"):
        text_layers(text)


def test_encoder_not_built_like_bert_raises():
    distil = {
        "model_type": "distilbert",
        "dim": 24,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 40,
        "vocab_size": 50,
    }
    with pytest.raises(
        ValueError,
        match="type 'distilbert' cannot be walked through layer by layer: use one of the",
    ):
        text_layers(TextEncoder(distil, pretrained=False))
