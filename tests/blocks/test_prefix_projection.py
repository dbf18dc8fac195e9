import pytest
import torch

from mmie.blocks.prefix_projection import PrefixProjection, check_heads

LAYERS, BATCH, PREFIX, HIDDEN, HEADS = 3, 2, 5, 12, 4
HEAD = HIDDEN // HEADS


def test_equals_a_literal_loop():
    torch.manual_seed(0)
    projection = PrefixProjection(HIDDEN, LAYERS, HEADS)
    states, mask = torch.randn(LAYERS, BATCH, PREFIX, HIDDEN), torch.rand(BATCH, PREFIX) < 0.5
    prefix = projection(states, mask)
    assert prefix.mask is mask
    assert prefix.keys.shape == prefix.values.shape == (LAYERS, BATCH, HEADS, PREFIX, HEAD)
    weights = projection.state_dict()
    for layer in range(LAYERS):
        for row in range(BATCH):
            for position in range(PREFIX):
                both = (
                    weights[f"{layer}.weight"] @ states[layer, row, position]
                    + weights[f"{layer}.bias"]
                )
                for head in range(HEADS):
                    first = head * HEAD
                    key, value = (
                        prefix.keys[layer, row, head, position],
                        prefix.values[layer, row, head, position],
                    )
                    torch.testing.assert_close(key, both[first : first + HEAD])
                    torch.testing.assert_close(value, both[HIDDEN + first : HIDDEN + first + HEAD])


def test_states_of_another_number_of_layers_are_refused():
    projection = PrefixProjection(HIDDEN, LAYERS, HEADS)
    for layers in (LAYERS - 1, LAYERS + 1):
        with pytest.raises(ValueError, match="zip"):
            projection(
                torch.zeros(layers, BATCH, PREFIX, HIDDEN),
                torch.ones(BATCH, PREFIX, dtype=torch.bool),
            )


def test_heads_that_do_not_share_the_width_are_refused():
    check_heads(12, 3)
    for build in (check_heads, lambda hidden, heads: PrefixProjection(hidden, LAYERS, heads)):
        with pytest.raises(
            ValueError, match="hidden_size 12 is no multiple of num_heads 5: take both from"
        ):
            build(12, 5)
