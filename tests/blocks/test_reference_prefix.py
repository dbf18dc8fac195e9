"""The reference prefix against the public code, written out view by view."""

import pytest
import torch
from helpers.visual_prefixes import (
    BATCH,
    HEAD,
    HEADS,
    HIDDEN,
    VIEWS,
    activate,
    build_prefix,
    make_stages,
)
from torch.nn import functional

from mmie.blocks.reference_prefix import ReferencePrefix


def literal_reference(prefix, stages, layer, activations):
    """Compute keys and values of one layer as the public code does, view by view.

    Returns:
        (batch, heads, prefix, head_size) each.
    """
    first, _, second = prefix.encoder_conv
    key_values = []
    for view, activation in zip(range(VIEWS), activations, strict=True):
        maps = torch.cat([stage[:, view] for stage in stages], dim=1)  # (batch, channels, 2, 2)
        hidden = torch.tanh(functional.linear(maps.view(BATCH, 4, -1), *first.parameters()))
        chunks = functional.linear(hidden, *second.parameters()).split(2 * HIDDEN, dim=-1)
        summary = (sum(chunks) / 4).view(BATCH, -1)
        scores = activate(activation, functional.linear(summary, *prefix.gates[layer].parameters()))
        gate = functional.softmax(scores, dim=-1)
        key_values.append(sum(gate[:, i].view(-1, 1, 1) * chunks[i] for i in range(4)))
    keys, values = torch.cat(key_values, dim=1).split(HIDDEN, dim=-1)
    return keys.reshape(BATCH, HEADS, -1, HEAD), values.reshape(BATCH, HEADS, -1, HEAD)


@pytest.mark.parametrize(
    ("settings", "activations"),
    [
        ({}, ["leaky_relu"] * 3),
        ({"activation": "selu"}, ["selu"] * 3),
        (
            {"activation": "selu", "crop_activation": "leaky_relu"},
            ["selu", "leaky_relu", "leaky_relu"],
        ),
    ],
)
def test_prefix_equals_loops(settings, activations):
    prefix, stages = build_prefix(ReferencePrefix, bottleneck=7, **settings), make_stages()
    result = prefix(stages, torch.ones(BATCH, VIEWS, dtype=torch.bool))
    assert result.mask.shape == (BATCH, HEADS, 4 * VIEWS)
    assert result.mask.all()
    for layer in range(4):
        keys, values = literal_reference(prefix, stages, layer, activations)
        torch.testing.assert_close(result.keys[layer], keys, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(result.values[layer], values, rtol=1e-4, atol=1e-5)


def test_parameters_have_the_names_of_the_public_code():
    prefix = ReferencePrefix((256, 512, 1024, 2048), 24, 2, 3)
    shapes = {name: tuple(value.shape) for name, value in prefix.state_dict().items()}
    assert shapes == {
        "encoder_conv.0.weight": (800, 3840),
        "encoder_conv.0.bias": (800,),
        "encoder_conv.2.weight": (4 * 2 * 24, 800),
        "encoder_conv.2.bias": (4 * 2 * 24,),
        **{f"gates.{layer}.weight": (4, 4 * 2 * 24) for layer in range(2)},
        **{f"gates.{layer}.bias": (4,) for layer in range(2)},
    }
