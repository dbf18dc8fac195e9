"""Base class of the methods with a visual backbone."""

from dataclasses import replace

import pytest
import torch
from helpers.methods import (
    build_module,
    copy_state,
    distinct_instances,
    make_batch,
    parameter_names,
    parameter_rates,
    train,
    training_loss,
)
from torch import nn

from mmie.methods import RAP, HVPNet

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

TINY = {"vision_backbone": "test_resnet"}
SMALL_RAP = {**TINY, "num_fusion_layers": 2, "prompt_length": 4}


@pytest.fixture(params=["ner", "re"])
def data(request, demo_data, tiny_bert):
    return demo_data(request.param, tiny_bert)


@pytest.fixture
def batch(data):
    return make_batch(data, distinct_instances(data.instances["train"], 4))


@pytest.mark.parametrize(("method", "arguments"), [(HVPNet, TINY), (RAP, SMALL_RAP)])
def test_trained_backbone_trains_at_the_text_rate(data, batch, tiny_bert, method, arguments):
    rates = {"text_lr": 1e-3, "fusion_lr": 2e-3, "head_lr": 3e-3}
    module = build_module(method, data.schema, tiny_bert, freeze_vision=False, **rates, **arguments)
    frozen = build_module(method, data.schema, tiny_bert, **arguments)
    assert parameter_names(module) == parameter_names(frozen)
    for name, parameter in module.vision.named_parameters():
        if not parameter.any() and name.endswith("weight"):
            nn.init.ones_(parameter)  # timm starts residual branches at 0
    training_loss(module, batch).backward()
    for name, parameter in module.vision.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    assert module.vision.model.training
    trained_rates = parameter_rates(module)
    assert {trained_rates[p] for p in module.vision.parameters()} == {1e-3}
    before = copy_state(module.vision)
    train(module, batch, 1)
    after = copy_state(module.vision)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed >= parameter_names(module.vision)
    assert any(name.endswith("running_mean") for name in changed)
    assert not changed & {"mean", "std"}


def test_cached_features_replace_pixels(data, batch, tiny_bert):
    module = build_module(HVPNet, data.schema, tiny_bert, **TINY)
    (spec,) = module.feature_specs()
    assert (spec.name, spec.source) == ("vision", "views")
    rows = spec.compute(batch.pixels[batch.view_mask])
    features = rows.new_zeros(*batch.view_mask.shape, rows.shape[1])
    features[batch.view_mask] = rows
    cached = replace(batch, pixels=None, features={"vision": features})
    for expected, stage in zip(
        module.encode_images(batch), module.encode_images(cached), strict=True
    ):
        torch.testing.assert_close(stage, expected)
        assert not stage[~batch.view_mask].any()


def test_rebuild_args_name_the_architecture(data, tiny_bert):
    module = build_module(HVPNet, data.schema, tiny_bert, **TINY)
    assert module.rebuild_args()["vision_backbone"] == "test_resnet"
