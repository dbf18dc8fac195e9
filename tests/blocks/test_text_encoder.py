"""The text encoder of all methods: its settings, inputs and errors."""

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
    make_prefix,
    make_text,
    save_text_model,
)
from torch import nn

from mmie.blocks.errors import EncoderUnsuited
from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.text_encoder import TextEncoder


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def test_own_configuration_builds_the_same_network(tmp_path, family):
    save_text_model(tmp_path, FAMILIES[family])
    encoder = TextEncoder(tmp_path, vocab_size=34).eval()
    settings = json.loads(json.dumps(encoder.config.to_dict()))
    again = TextEncoder(settings, pretrained=False, vocab_size=34).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(*make_text()), encoder(*make_text()))


@pytest.mark.parametrize("build", [lambda f: TextEncoder(f), lambda f: TextEncoder(f, False)])
def test_encoder_starts_in_training_mode(tmp_path, build):
    save_text_model(tmp_path)
    encoder = build(tmp_path)
    assert all(module.training for module in encoder.modules())
    assert not any(module.training for module in encoder.eval().modules())


@pytest.mark.parametrize("source", ["folder", "mapping"])
def test_encoder_has_no_pooler(tmp_path, family, source):
    save_text_model(tmp_path, FAMILIES[family])
    if source == "folder":
        encoder = TextEncoder(tmp_path)
    else:
        encoder = TextEncoder(FAMILIES[family], pretrained=False)
    assert not [name for name, _ in encoder.named_parameters() if "pooler" in name]
    encoder(*make_text()).square().sum().backward()
    assert not [name for name, parameter in encoder.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(
    ("vocab_size", "rows"), [(None, 30), (4, 30), (30, 30), (31, 31), (37, 37)]
)
def test_embedding_grows_and_never_shrinks(tmp_path, family, vocab_size, rows):
    saved = save_text_model(tmp_path, FAMILIES[family])
    encoder = TextEncoder(tmp_path, vocab_size=vocab_size)
    embedding = encoder.model.get_input_embeddings()
    assert embedding.weight.shape[0] == encoder.config.vocab_size == rows
    assert torch.equal(embedding.weight[:30], saved.get_input_embeddings().weight)
    assert embedding.padding_idx == encoder.config.pad_token_id
    assert embedding.weight.requires_grad
    states = encoder(
        torch.full((1, 2), rows - 1), torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2).long()
    )
    assert states.isfinite().all()


def test_token_types_are_ignored_by_encoders_with_a_single_segment(family):
    encoder = TextEncoder(FAMILIES[family], pretrained=False).eval()
    same = torch.equal(encoder(*make_text(segments=0)), encoder(*make_text(segments=1)))
    assert same == (family != "bert")


def test_token_types_are_passed_to_bert():
    encoder = TextEncoder(BERT, pretrained=False).eval()
    ids, mask, segments = make_text()
    segments[:, 3:] = 1
    expected = encoder.model(
        input_ids=ids, attention_mask=mask, token_type_ids=segments
    ).last_hidden_state
    assert torch.equal(encoder(ids, mask, segments), expected)


def test_text_longer_than_the_positions_raises(family):
    encoder = TextEncoder(FAMILIES[family], pretrained=False).eval()
    most = encoder.max_positions
    assert most == (16 if family == "bert" else 14)
    assert encoder(*make_text(most)).isfinite().all()
    ids, mask, segments = make_text(most + 1)
    with pytest.raises((IndexError, RuntimeError)):  # of transformers
        encoder.model(input_ids=ids, attention_mask=mask)
    with pytest.raises(
        ValueError, match=rf"up to {most + 1}, text encoder has {most}: lower data.max_tokens"
    ):
        encoder(ids, mask, segments)


def test_text_shifted_beyond_the_positions_raises(family):
    encoder = TextEncoder(FAMILIES[family], pretrained=False).eval()
    shift = encoder.max_positions - TOKENS
    assert encoder(*make_text(), position_shift=shift).isfinite().all()
    with pytest.raises(ValueError, match=f"up to {encoder.max_positions + 1}"):
        encoder(*make_text(), position_shift=shift + 1)


@pytest.mark.parametrize(
    "wrong", [{"layers": 3}, {"heads": 1}, {"size": 5}, {"heads": 1, "size": 8}]
)
def test_prefix_for_another_encoder_raises(wrong):
    encoder = TextEncoder(BERT, pretrained=False)
    expected = tuple({"layers": LAYERS, "heads": HEADS, "size": HEAD, **wrong}.values())
    with pytest.raises(ValueError, match="prefix has") as caught:
        encoder(*make_text(), make_prefix(**wrong))
    assert f"= {(LAYERS, HEADS, HEAD)}" in str(caught.value)
    assert f"prefix has {expected}" in str(caught.value)
    assert_short_line(caught.value)


IGNORING = {
    "mpnet": "bias for the distance",
    "deberta": "disentangled attention",
    "deberta-v2": "disentangled attention",
    "albert": "share one attention",
    "big_bird": "attention of their own",
}
"""Types that ignore prefixes, and the reason that is named."""


@pytest.mark.parametrize("model_type", IGNORING)
def test_encoder_that_ignores_prefixes_raises(model_type):
    encoder = TextEncoder({**BERT, "model_type": model_type}, pretrained=False)
    assert encoder(*make_text()).isfinite().all()
    sizes = (encoder.num_layers, encoder.num_heads, encoder.hidden_size // encoder.num_heads)
    for call in (encoder.check_reads_prefix, lambda: encoder(*make_text(), make_prefix(*sizes))):
        with pytest.raises(
            EncoderUnsuited, match=f"'{model_type}' reads no prefix: .*{IGNORING[model_type]}"
        ) as caught:
            call()
        assert "TextOnly" in str(caught.value)
        assert_short_line(caught.value)


SUPPORTING = ["electra", "camembert", "ernie", "modernbert", "distilbert", "nomic_bert"]


@pytest.mark.parametrize("model_type", SUPPORTING)
def test_other_encoders_with_the_attention_interface_use_the_prefix(model_type):
    encoder = TextEncoder(
        {**BERT, "model_type": model_type, "pad_token_id": 0}, pretrained=False
    ).eval()
    assert not torch.allclose(
        encoder(*make_text(), make_prefix()), encoder(*make_text()), atol=1e-4
    )


@pytest.mark.parametrize("model_type", ["bert", "roberta", *SUPPORTING, *IGNORING])
def test_padding_is_masked_in_encoders_of_every_type(model_type):
    """An attention that adds the mask to its scores must not get a bool mask."""
    encoder = TextEncoder(
        {**BERT, "model_type": model_type, "pad_token_id": 0}, pretrained=False
    ).eval()
    ids, mask, segments = make_text()
    mask[1, 4:] = False
    other = torch.where(mask, ids, 7)
    states = encoder(ids, mask, segments)
    assert torch.equal(encoder(other, mask, segments)[mask], states[mask])
    assert not torch.allclose(
        encoder(ids, torch.ones_like(mask), segments)[1, :4], states[1, :4], atol=1e-7
    )


@pytest.mark.parametrize("model_type", ["mpnet", "albert"])
def test_encoder_without_gradient_checkpointing_raises(model_type):
    with pytest.raises(
        EncoderUnsuited, match=f"'{model_type}' cannot recompute.*gradient_checkpointing: false"
    ) as e:
        TextEncoder(
            {**BERT, "model_type": model_type}, pretrained=False, gradient_checkpointing=True
        )
    assert_short_line(e.value)


def test_frozen_encoder_stays_in_eval_mode_without_gradient():
    encoder = TextEncoder(BERT, pretrained=False, frozen=True)
    parent = nn.Sequential(encoder)
    for act in (lambda: None, encoder.train, parent.train, parent.eval):
        act()
        assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder(*make_text()).requires_grad
    keys, values = make_prefix().keys, make_prefix().values.requires_grad_()
    encoder(*make_text(), Prefix(keys, values))[..., 0].sum().backward()
    assert values.grad.ne(0).flatten(1).any(1).all()
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_frozen_encoder_grows_its_embedding():
    encoder = TextEncoder(BERT, pretrained=False, vocab_size=40, frozen=True)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
