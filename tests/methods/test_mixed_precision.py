"""Extra losses of the methods under bf16 autocast: their gradients are those in float32."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from helpers.methods import (
    build_module,
    distinct_instances,
    make_batch,
    perturb,
    random_pixels_like,
)
from torch import nn

from mmie.methods import DGHC, IMM, RAP, HVPNet, MLNet, MLNetPretraining, RSRNeT, TextOnly

POSTS, CLIP_WIDTH = 8, 16
SMALL = {"vision_backbone": "test_resnet"}
SMALL_MLNET = {**SMALL, "fusion_layers": 1, "lstm_size": 32}


@dataclass(frozen=True)
class Case:
    """Small method with extra losses.

    Attributes:
        method: Class of the method.
        losses: Names of its extra losses.
        arguments: Constructor arguments that make it small.
        tolerance: Relative difference of the loss that the inputs, which stay in bf16, account for.
    """

    method: type
    losses: tuple[str, ...]
    arguments: dict = field(default_factory=dict)
    tolerance: float = 0.01


CASES = {
    "imm": Case(IMM, ("sw",), {"patch_size": 16, "clip": "clip"}),
    "imm_dot": Case(IMM, ("sw",), {"patch_size": 16, "clip": "clip", "matching": "dot"}),
    "mlnet": Case(MLNet, ("match",), {**SMALL_MLNET, "match_weight": 0.1}),
    "rap": Case(RAP, ("router",), {**SMALL, "num_fusion_layers": 2, "prompt_length": 4}, 0.03),
    "mlnet_pretraining": Case(MLNetPretraining, ("mlm", "mvm", "vlm"), SMALL_MLNET),
}
WITHOUT_LOSSES = {TextOnly: {}, HVPNet: SMALL, RSRNeT: SMALL, DGHC: SMALL}


@pytest.fixture
def data(demo_data, tiny_bert):
    return demo_data("ner", tiny_bert)


@pytest.fixture
def batch(data):
    """Batch of posts with CLIP vectors of texts and pictures that match more or less."""
    batch = make_batch(data, distinct_instances(data.instances["train"], POSTS))
    generator = torch.Generator().manual_seed(0)
    texts, noise = torch.randn(2, POSTS, CLIP_WIDTH, generator=generator)
    return replace(batch, features={"clip_text": texts, "clip_image": texts + noise})


@pytest.fixture
def build(data, tiny_bert):
    """Function that builds a perturbed method without dropout."""

    def build(method, arguments):
        module = perturb(build_module(method, data.schema, tiny_bert, **arguments)).train()
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        return module

    return build


def loss_gradient(module, batch, half):
    """Compute the sum of the extra losses, and its gradient as one vector.

    Args:
        module: The method in train mode.
        batch: The batch.
        half: Compute under bf16 autocast.
    """
    module.zero_grad()
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = sum(module.encode(batch).losses.values())
    loss.backward()
    gradients = []
    for parameter in module.parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        gradients.append(gradient.flatten())
    return loss.item(), torch.cat(gradients)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gradients_of_extra_losses_under_autocast_are_those_in_float32(build, batch, case):
    module = build(case.method, case.arguments)
    assert set(module.encode(batch).losses) == set(case.losses)
    expected_loss, expected = loss_gradient(module, batch, half=False)
    loss, gradient = loss_gradient(module, batch, half=True)
    assert loss == pytest.approx(expected_loss, rel=case.tolerance)
    assert torch.cosine_similarity(gradient, expected, dim=0) > 0.999
    assert gradient.norm() == pytest.approx(expected.norm().item(), rel=0.02)


def test_gradients_of_other_pictures_are_not_close(build, batch):
    """The bounds above tell losses apart: other pictures give another gradient."""
    module = build(IMM, CASES["imm"].arguments)
    _, expected = loss_gradient(module, batch, half=False)
    other = replace(batch, pixels=random_pixels_like(batch.pixels))
    _, gradient = loss_gradient(module, other, half=False)
    assert torch.cosine_similarity(gradient, expected, dim=0) < 0.99


@pytest.mark.parametrize("method", WITHOUT_LOSSES, ids=lambda method: method.__name__)
def test_other_methods_have_no_extra_loss(build, batch, method):
    module = build(method, WITHOUT_LOSSES[method])
    batch = replace(batch, features={})
    assert module.encode(batch).losses == {}
