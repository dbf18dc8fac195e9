"""RSRNeT: HVPNet with other parts."""

from dataclasses import replace
from inspect import signature

import pytest
import torch
from helpers.methods import (
    batch_without_views,
    build_module,
    distinct_instances,
    encode,
    make_batch,
    parameter_names,
    perturb,
)

from mmie.methods import HVPNet, RSRNeT

TINY = {"vision_backbone": "test_resnet"}


@pytest.fixture(params=["ner", "re"])
def data(request, demo_data, tiny_bert):
    return demo_data(request.param, tiny_bert)


def test_defaults_are_the_papers():
    defaults = {
        name: parameter.default for name, parameter in signature(RSRNeT.__init__).parameters.items()
    }
    assert defaults["text_encoder"] == "xlm-roberta-base"
    assert defaults["vision_backbone"] == "resnest50d"
    assert defaults["variant"] == "paper"
    assert defaults["pool_to"] == 2
    assert defaults["mapping"] == "dynamic"
    assert defaults["scales"] == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "hvpnet_arguments"),
    [
        ({}, {}),
        ({"mapping": "one_to_three"}, {}),
        ({"scales": [4]}, {}),
        ({"use_image": False}, {}),
    ],
)
def test_it_equals_hvpnet_with_selu_gates(data, tiny_bert, arguments, hvpnet_arguments):
    arguments = {**TINY, **arguments}
    module = perturb(build_module(RSRNeT, data.schema, tiny_bert, **arguments))
    hvpnet_arguments = {**arguments, **hvpnet_arguments, "activation": "selu", "pooling": "cls"}
    hvpnet = perturb(build_module(HVPNet, data.schema, tiny_bert, **hvpnet_arguments))
    assert parameter_names(module) == parameter_names(hvpnet)
    batch = make_batch(data, distinct_instances(data.instances["train"], 4))
    assert torch.equal(encode(module, batch), encode(hvpnet, batch))


@pytest.mark.parametrize(
    ("variant", "task", "pooling", "dropout"),
    [
        ("paper", "ner", "cls", 0.1),
        ("paper", "re", "cls", 0.1),
        ("reference", "ner", "cls_tail", 0.1),
        ("reference", "re", "cls_tail", 0.0),
    ],
)
def test_variant_decides_the_head(demo_data, tiny_bert, variant, task, pooling, dropout):
    schema = demo_data(task, tiny_bert).schema
    module = build_module(RSRNeT, schema, tiny_bert, variant=variant, **TINY)
    assert (module.pooling, module.head.dropout.p) == (pooling, dropout)


def test_reference_shifts_positions_by_the_prefix(data, tiny_bert):
    module = build_module(RSRNeT, data.schema, tiny_bert, variant="reference", **TINY)
    batch = batch_without_views(make_batch(data, distinct_instances(data.instances["train"], 4)))
    with torch.no_grad():
        shifted = module.encode_text(batch, position_shift=16)
        unshifted = module.encode_text(batch)
    torch.testing.assert_close(encode(module, batch), shifted, rtol=0, atol=1e-6)
    assert not torch.allclose(shifted, unshifted, atol=1e-3)


def test_position_shift_beyond_the_encoders_positions_raises(data, tiny_bert):
    def build(max_tokens, **arguments):
        schema = replace(data.schema, max_tokens=max_tokens)
        build_module(RSRNeT, schema, tiny_bert, **TINY, **arguments)

    build(112, variant="reference")
    build(113)
    with pytest.raises(ValueError, match="is 113 and the text starts at position 16: lower data"):
        build(113, variant="reference")
