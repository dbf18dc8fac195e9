"""Visual prefixes against the equations of the paper; tests of both kinds of prefix."""

import itertools
import math

import pytest
import torch
from helpers.visual_prefixes import (
    BATCH,
    CHANNELS,
    HEAD,
    HEADS,
    HIDDEN,
    MASK,
    VIEWS,
    activate,
    build_prefix,
    make_stages,
)
from torch.nn import functional

from mmie.blocks.reference_prefix import ReferencePrefix
from mmie.blocks.visual_prefix import PyramidPrefix


def linear(layer, vector):
    return layer.weight @ vector + layer.bias


def literal_pyramid(prefix, stages, layer, row, activation):
    """Compute keys and values of one layer and post by the equations of the paper.

    Returns:
        A list of pairs of width d.
    """
    pairs = []
    for view in range(VIEWS):
        features = []
        for stage, convolve in zip(stages, prefix.convolutions, strict=True):
            pixels = stage[row, view].flatten(1).T  # (positions, channels), row by row
            features.append([linear(convolve, pixel) for pixel in pixels])
        summary = sum(sum(scale) / 4 for scale in features) / 4
        gate = torch.softmax(activate(activation, linear(prefix.gates[layer], summary)), dim=0)
        for position in range(4):
            mixed = sum(gate[i] * features[i][position] for i in range(4))
            both = linear(prefix.projections[layer], mixed)
            pairs.append((both[:HIDDEN], both[HIDDEN:]))
    return pairs


@pytest.mark.parametrize("activation", ["leaky_relu", "selu"])
def test_pyramid_prefix_equals_loops(activation):
    prefix, stages = build_prefix(PyramidPrefix, activation=activation), make_stages()
    result = prefix(stages, MASK)
    assert result.keys.shape == result.values.shape == (4, BATCH, HEADS, 4 * VIEWS, HEAD)
    for layer, row in itertools.product(range(4), range(BATCH)):
        pairs = literal_pyramid(prefix, stages, layer, row, activation)
        for position, pair in enumerate(pairs):
            for ours, expected in zip((result.keys, result.values), pair, strict=True):
                actual = ours[layer, row, :, position].flatten()  # heads side by side
                torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_linear_map_over_channels_equals_a_one_by_one_convolution():
    prefix, stages = build_prefix(PyramidPrefix), make_stages()
    features = prefix._project(stages)
    for scale, convolve in enumerate(prefix.convolutions):
        maps = functional.conv2d(
            stages[scale].flatten(0, 1), convolve.weight[:, :, None, None], convolve.bias
        )
        expected = maps.view(BATCH, VIEWS, HIDDEN, 4).transpose(2, 3)
        torch.testing.assert_close(features[:, :, scale], expected, rtol=1e-4, atol=1e-5)


def test_pyramid_mask_has_four_positions_per_view():
    mask = build_prefix(PyramidPrefix)(make_stages(), MASK).mask
    assert mask.tolist() == [[True] * 8 + [False] * 4, [True] * 4 + [False] * 8]


@pytest.mark.parametrize("kind", [PyramidPrefix, ReferencePrefix])
def test_masked_view_changes_its_own_gates_and_masked_positions_only(kind):
    prefix, stages = build_prefix(kind), make_stages()
    changed = [
        torch.where(MASK[:, :, None, None, None], *pair)
        for pair in zip(stages, make_stages(1), strict=True)
    ]
    before, after = prefix(stages, MASK), prefix(changed, MASK)
    unmasked = after.mask if after.mask.dim() == 3 else after.mask[:, None].expand(-1, HEADS, -1)
    for old, new in ((before.keys, after.keys), (before.values, after.values)):
        differs = (old != new).any(dim=-1)  # (layers, batch, heads, prefix)
        assert (differs == ~unmasked).all()
    old, new = prefix.gate_weights(stages), prefix.gate_weights(changed)
    assert ((old != new).any(dim=-1) == ~MASK).all()


@pytest.mark.parametrize("kind", [PyramidPrefix, ReferencePrefix])
def test_gates_sum_to_one_and_differ_by_layer_post_and_view(kind):
    prefix, stages = build_prefix(kind), make_stages()
    gates = prefix.gate_weights(stages)
    assert gates.shape == (4, BATCH, VIEWS, 4)
    torch.testing.assert_close(gates.sum(dim=-1), torch.ones(4, BATCH, VIEWS))
    assert gates.flatten(0, 2).unique(dim=0).shape[0] == 4 * BATCH * VIEWS


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (PyramidPrefix, {}),
        (PyramidPrefix, {"scales": (4,)}),
        (PyramidPrefix, {"scales": (2, 4), "activation": "selu"}),
        (PyramidPrefix, {"mapping": "one_to_three"}),
        (ReferencePrefix, {}),
    ],
)
def test_every_parameter_gets_gradient(kind, settings):
    prefix = build_prefix(kind, **settings)
    result = prefix(make_stages(), MASK)
    (result.keys.square().sum() + result.values.square().sum()).backward()
    assert [name for name, parameter in prefix.named_parameters() if not parameter.grad.any()] == []


def test_one_to_three_equals_the_table_of_the_paper_and_has_no_gates():
    prefix, stages = build_prefix(PyramidPrefix, layers=12, mapping="one_to_three"), make_stages()
    gates = prefix.gate_weights(stages)
    assert len(prefix.gates) == 0
    for stage in range(1, 5):
        for layer in (3 * stage - 2, 3 * stage - 1, 3 * stage):
            assert (gates[layer - 1] == functional.one_hot(torch.tensor(stage - 1), 4)).all()
    features = prefix._project(stages)
    keys = prefix(stages, MASK).keys  # layer 5 (from 1) reads stage 2
    expected = prefix.projections[4](features[:, :, 1]).flatten(1, 2)[..., :HIDDEN]
    torch.testing.assert_close(keys[4].transpose(1, 2).flatten(2), expected)


@pytest.mark.parametrize("layers", [2, 4, 6, 24])
def test_one_to_three_for_other_depths(layers):
    prefix = build_prefix(PyramidPrefix, layers=layers, mapping="one_to_three")
    scales = prefix.gate_weights(make_stages())[:, 0, 0].argmax(-1)  # (layers,)
    assert scales.tolist() == [math.ceil(layer * 4 / layers) - 1 for layer in range(1, layers + 1)]


def test_scales_choose_stages():
    stages, other = make_stages(), make_stages(1)
    single = build_prefix(PyramidPrefix, scales=(4,))
    two = build_prefix(PyramidPrefix, scales=(1, 3))
    assert len(single.gates) == 0
    assert (single.gate_weights(stages) == 1).all()
    assert single([*other[:3], stages[3]], MASK).keys.equal(single(stages, MASK).keys)
    assert two([stages[0], other[1], stages[2], other[3]], MASK).keys.equal(two(stages, MASK).keys)
    assert not two([other[0], *stages[1:]], MASK).keys.equal(two(stages, MASK).keys)


@pytest.mark.parametrize("kind", [PyramidPrefix, ReferencePrefix])
def test_initial_weights_are_distributed_as_in_bert(kind):
    torch.manual_seed(0)
    for name, parameter in kind((256, 512, 1024, 2048), 48, 2, 3).named_parameters():
        expected = 0.0 if name.endswith("bias") else 0.02
        assert parameter.std(unbiased=False).item() == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize("kind", [PyramidPrefix, ReferencePrefix])
def test_single_view_works(kind):
    result = build_prefix(kind)(make_stages(views=1), torch.ones(BATCH, 1, dtype=torch.bool))
    assert result.keys.shape == (4, BATCH, HEADS, 4, HEAD)


@pytest.mark.parametrize("scales", [(), (0, 1), (1, 5), (2, 2)])
def test_invalid_scales_raise(scales):
    with pytest.raises(ValueError, match="name different stages from 1 to 4"):
        build_prefix(PyramidPrefix, scales=scales)


@pytest.mark.parametrize("kind", [PyramidPrefix, ReferencePrefix])
def test_stages_or_heads_that_do_not_fit_raise(kind):
    with pytest.raises(ValueError, match="hidden_size 12 is no multiple of num_heads 5"):
        kind(CHANNELS, 12, 2, 5)
    prefix, stages = build_prefix(kind), make_stages()
    with pytest.raises(ValueError, match=r"\(3, 2, 2\).*was built for .*\(10, 2, 2\)"):
        prefix(stages[:3], MASK)
    unpooled = [stage.repeat(1, 1, 1, 2, 2) for stage in stages]
    with pytest.raises(ValueError, match="pool_to=2"):
        prefix(unpooled, MASK)
