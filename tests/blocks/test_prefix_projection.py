"""The prefix projection against loops."""

import itertools

import pytest
import torch

from mmie.blocks.prefix_projection import PrefixProjection, check_heads

LAYERS, BATCH, PREFIX, HIDDEN, HEADS = 3, 2, 5, 12, 4
HEAD = HIDDEN // HEADS


def test_prefix_equals_loops():
    torch.manual_seed(0)
    projection = PrefixProjection(HIDDEN, LAYERS, HEADS)
    states, mask = torch.randn(LAYERS, BATCH, PREFIX, HIDDEN), torch.rand(BATCH, PREFIX) < 0.5
    prefix = projection(states, mask)
    assert prefix.mask is mask
    assert prefix.keys.shape == prefix.values.shape == (LAYERS, BATCH, HEADS, PREFIX, HEAD)
    weights = projection.state_dict()
    for layer, row, position in itertools.product(range(LAYERS), range(BATCH), range(PREFIX)):
        vector = states[layer, row, position]
        both = weights[f"{layer}.weight"] @ vector + weights[f"{layer}.bias"]
        for head in range(HEADS):
            first = head * HEAD
            key = prefix.keys[layer, row, head, position]
            value = prefix.values[layer, row, head, position]
            torch.testing.assert_close(key, both[first : first + HEAD])
            torch.testing.assert_close(value, both[HIDDEN + first : HIDDEN + first + HEAD])


def test_states_of_another_number_of_layers_raise():
    projection = PrefixProjection(HIDDEN, LAYERS, HEADS)
    for layers in (LAYERS - 1, LAYERS + 1):
        with pytest.raises(ValueError, match="zip"):
            projection(
                torch.zeros(layers, BATCH, PREFIX, HIDDEN),
                torch.ones(BATCH, PREFIX, dtype=torch.bool),
            )


def test_heads_that_do_not_divide_the_width_raise():
    check_heads(12, 3)
    for build in (check_heads, lambda hidden, heads: PrefixProjection(hidden, LAYERS, heads)):
        with pytest.raises(
            ValueError, match="hidden_size 12 is no multiple of num_heads 5: take both from"
        ):
            build(12, 5)
