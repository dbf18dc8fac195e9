"""Digests, copies and zero losses of the weights of a module."""

import torch
from torch import nn

from mmie.blocks.weights import digest_weights, trainable_copy, zero_for_unused


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_digest_depends_on_weights_buffers_and_names():
    digest = digest_weights(build())
    assert digest_weights(build()) == digest
    changed = build()
    changed[0].bias.data[1] += 1e-6
    assert digest_weights(changed) != digest
    changed = build()
    changed[1].running_mean[0] = 1
    assert digest_weights(changed) != digest
    renamed = nn.ModuleDict({"first": build()[0], "second": build()[1]})
    assert digest_weights(renamed) != digest


def test_digest_of_bfloat16_weights():
    assert digest_weights(build().bfloat16()) != digest_weights(build())


def test_copy_of_a_frozen_module_trains():
    module = build().requires_grad_(False).eval()
    copied = trainable_copy(module)
    assert all(parameter.requires_grad for parameter in copied.parameters())
    assert all(part.training for part in copied.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not any(part.training for part in module.modules())
    copied[0].weight.data.zero_()
    assert module[0].weight.any()


def test_zero_loss_gives_gradients_of_0_to_trained_weights_only():
    first, second = build(), build()
    first[0].weight.requires_grad_(False)
    loss = zero_for_unused(first, second)
    assert loss == 0
    loss.backward()
    assert first[0].weight.grad is None
    for parameter in (first[0].bias, *first[1].parameters(), *second.parameters()):
        assert not parameter.grad.any()


def test_zero_loss_without_trained_weights_has_no_gradient():
    loss = zero_for_unused(build().requires_grad_(False))
    assert loss == 0
    assert not loss.requires_grad
    assert zero_for_unused() == 0
