"""RSRNeT: HVPNet with other parts."""

from inspect import signature

import pytest
import torch
from helpers.methods import (
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
    assert defaults["pooling"] == "cls"
    assert defaults["variant"] == "paper"
    assert defaults["mapping"] == "dynamic"
    assert defaults["scales"] == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "hvpnet_arguments"),
    [
        ({}, {}),
        ({"variant": "reference"}, {"crop_activation": "leaky_relu"}),
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
