"""Text encoders of other families, in a method without and a method with a prefix."""

import pytest
import torch
from helpers.methods import (
    build_module,
    distinct_instances,
    encode,
    make_batch,
    perturb,
    training_loss,
)
from helpers.text_encoders import SIZES

from mmie.blocks.errors import EncoderUnsuited
from mmie.methods import HVPNet, TextOnly

pytestmark = pytest.mark.filterwarnings(
    "ignore:You are trying to `self.log", "ignore:.*in eval mode"
)

PREFIX_FAMILIES = {
    "bert": {},
    "camembert": {"type_vocab_size": 1},
    "electra": {"embedding_size": 16},
    "ernie": {},
    "distilbert": {"dropout": 0.0, "attention_dropout": 0.0},
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 8},
}
OTHER_FAMILIES = {
    "albert": {"embedding_size": 16},
    "deberta": {},
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "mpnet": {},
}
WITHOUT_CHECKPOINTING = {"albert", "mpnet"}
FAMILIES = {**PREFIX_FAMILIES, **OTHER_FAMILIES}


@pytest.fixture(scope="module")
def data(demo_data, tiny_bert):
    return demo_data("ner", tiny_bert)


@pytest.fixture(scope="module")
def posts(data):
    return distinct_instances(data.instances["train"], 4)


def build(method, data, family, **arguments):
    encoder = {"model_type": family, **SIZES, **FAMILIES[family]}
    return build_module(method, data.schema, encoder, dropout=0.0, **arguments)


def build_hvpnet(data, family, **arguments):
    return perturb(build(HVPNet, data, family, vision_backbone="test_resnet", **arguments))


def check_trains(module, batch):
    """Assert that the loss is finite and every trained parameter gets a gradient."""
    loss = training_loss(module, batch)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_only(data, posts, family):
    module, batch = build(TextOnly, data, family), make_batch(data, posts)
    assert module.text.config.vocab_size == data.schema.vocab_size
    states = encode(module, batch)
    for row, post in enumerate(posts):
        alone = encode(module, make_batch(data, [post]))[0]
        torch.testing.assert_close(states[row, : len(alone)], alone, atol=1e-5, rtol=1e-4)
    check_trains(module, batch)


@pytest.mark.parametrize("family", PREFIX_FAMILIES)
def test_hvpnet(data, posts, family):
    module, batch = build_hvpnet(data, family), make_batch(data, posts)
    without_images = build_hvpnet(data, family, use_image=False)
    assert not torch.allclose(encode(module, batch), encode(without_images, batch), atol=1e-3)
    check_trains(module, batch)


@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_hvpnet_raises_for_an_encoder_without_prefix_support(data, family):
    with pytest.raises(EncoderUnsuited, match=f"'{family}' reads no prefix: .*TextOnly") as error:
        build_hvpnet(data, family)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - WITHOUT_CHECKPOINTING))
def test_gradient_checkpointing_changes_no_gradient(data, posts, family):
    make = (
        build_hvpnet
        if family in PREFIX_FAMILIES
        else lambda *given, **settings: build(TextOnly, *given, **settings)
    )
    plain, checkpointed = make(data, family), make(data, family, gradient_checkpointing=True)
    for module in (plain, checkpointed):
        training_loss(module, make_batch(data, posts)).backward()
    for (name, p), (_, q) in zip(
        plain.named_parameters(), checkpointed.named_parameters(), strict=True
    ):
        if p.requires_grad:
            torch.testing.assert_close(p.grad, q.grad, msg=name)


@pytest.mark.parametrize("family", sorted(WITHOUT_CHECKPOINTING))
def test_encoder_without_gradient_checkpointing_raises(data, family):
    with pytest.raises(EncoderUnsuited, match=f"'{family}' cannot recompute"):
        build(TextOnly, data, family, gradient_checkpointing=True)
