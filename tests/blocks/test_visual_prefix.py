import math

import pytest
import torch
from torch.nn import functional

from mmie.blocks.visual_prefix import PyramidPrefix, ReferencePrefix

CHANNELS = (3, 5, 6, 10)
BATCH, VIEWS, HIDDEN, HEADS = 2, 3, 12, 3
HEAD = HIDDEN // HEADS
MASK = torch.tensor([[True, True, False], [True, False, False]])


def stages_of(seed=0, views=VIEWS):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(BATCH, views, count, 2, 2, generator=generator) for count in CHANNELS]


def build(kind, layers=4, **settings):
    """A prefix with weights large enough for its gates to differ."""
    torch.manual_seed(0)
    prefix = kind(CHANNELS, HIDDEN, layers, HEADS, **settings)
    for parameter in prefix.parameters():
        parameter.data.normal_(std=0.5)
    return prefix


def linear(layer, vector):
    return layer.weight @ vector + layer.bias


def activate(name, scores):
    return functional.selu(scores) if name == "selu" else functional.leaky_relu(scores)


def literal_pyramid(prefix, stages, layer, row, activation):
    """Keys and values of one layer and post by the paper's equations; a list of (key, value) of width d."""
    pairs = []
    for view in range(VIEWS):
        features = [
            [linear(convolve, stages[i][row, view, :, y, x]) for y in (0, 1) for x in (0, 1)]
            for i, convolve in enumerate(prefix.convolutions)
        ]
        summary = sum(sum(scale) / 4 for scale in features) / 4
        gate = torch.softmax(activate(activation, linear(prefix.gates[layer], summary)), dim=0)
        for position in range(4):
            mixed = sum(gate[i] * features[i][position] for i in range(4))
            both = linear(prefix.projections[layer], mixed)
            pairs.append((both[:HIDDEN], both[HIDDEN:]))
    return pairs


@pytest.mark.parametrize("activation", ["leaky_relu", "selu"])
def test_pyramid_equals_a_literal_loop(activation):
    prefix, stages = build(PyramidPrefix, activation=activation), stages_of()
    result = prefix(stages, MASK)
    assert result.keys.shape == result.values.shape == (4, BATCH, HEADS, 4 * VIEWS, HEAD)
    for layer in range(4):
        for row in range(BATCH):
            for position, pair in enumerate(
                literal_pyramid(prefix, stages, layer, row, activation)
            ):
                for ours, expected in zip((result.keys, result.values), pair, strict=True):
                    for head in range(HEADS):
                        slice_ = expected[head * HEAD : (head + 1) * HEAD]
                        torch.testing.assert_close(
                            ours[layer, row, head, position], slice_, rtol=1e-4, atol=1e-5
                        )


def test_linear_over_channels_is_a_one_by_one_convolution():
    prefix, stages = build(PyramidPrefix), stages_of()
    features = prefix._project(stages)
    for scale, convolve in enumerate(prefix.convolutions):
        maps = functional.conv2d(
            stages[scale].flatten(0, 1), convolve.weight[:, :, None, None], convolve.bias
        )
        expected = maps.view(BATCH, VIEWS, HIDDEN, 4).transpose(2, 3)
        torch.testing.assert_close(features[:, :, scale], expected, rtol=1e-4, atol=1e-5)


def literal_reference(prefix, stages, layer, activations):
    """Keys and values (batch, heads, prefix, head_size) of one layer as the public code computes them, view by view."""
    key_values = []
    for view, activation in zip(range(VIEWS), activations, strict=True):
        maps = torch.cat([stage[:, view] for stage in stages], dim=1)  # (batch, channels, 2, 2)
        hidden = torch.tanh(
            functional.linear(maps.view(BATCH, 4, -1), *prefix.encoder_conv[0].parameters())
        )
        chunks = functional.linear(hidden, *prefix.encoder_conv[2].parameters()).split(
            2 * HIDDEN, dim=-1
        )
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
def test_reference_equals_a_literal_loop(settings, activations):
    prefix, stages = build(ReferencePrefix, bottleneck=7, **settings), stages_of()
    result = prefix(stages, torch.ones(BATCH, VIEWS, dtype=torch.bool))
    assert result.mask.shape == (BATCH, HEADS, 4 * VIEWS)
    assert result.mask.all()
    for layer in range(4):
        keys, values = literal_reference(prefix, stages, layer, activations)
        torch.testing.assert_close(result.keys[layer], keys, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(result.values[layer], values, rtol=1e-4, atol=1e-5)


def test_reference_takes_the_public_codes_names():
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


def test_pyramid_mask_has_four_positions_per_view():
    mask = build(PyramidPrefix)(stages_of(), MASK).mask
    assert mask.tolist() == [[True] * 8 + [False] * 4, [True] * 4 + [False] * 8]


@pytest.mark.parametrize("kind", [PyramidPrefix, ReferencePrefix])
def test_a_view_changes_its_own_gates_and_no_position_that_the_mask_leaves(kind):
    prefix, stages = build(kind), stages_of()
    changed = [
        torch.where(MASK[:, :, None, None, None], *pair)
        for pair in zip(stages, stages_of(1), strict=True)
    ]
    before, after = prefix(stages, MASK), prefix(changed, MASK)
    left = after.mask if after.mask.dim() == 3 else after.mask[:, None].expand(-1, HEADS, -1)
    for old, new in ((before.keys, after.keys), (before.values, after.values)):
        differs = (old != new).any(dim=-1)  # (layers, batch, heads, prefix)
        assert (differs == ~left).all()
    old, new = prefix.gate_weights(stages), prefix.gate_weights(changed)
    assert ((old != new).any(dim=-1) == ~MASK).all()


@pytest.mark.parametrize("kind", [PyramidPrefix, ReferencePrefix])
def test_gates_are_weights_per_layer_post_and_view(kind):
    prefix, stages = build(kind), stages_of()
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
    prefix = build(kind, **settings)
    result = prefix(stages_of(), MASK)
    (result.keys.square().sum() + result.values.square().sum()).backward()
    assert [name for name, parameter in prefix.named_parameters() if not parameter.grad.any()] == []


def test_one_to_three_is_the_papers_table_and_has_no_gates():
    prefix, stages = build(PyramidPrefix, layers=12, mapping="one_to_three"), stages_of()
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
    chosen = (
        build(PyramidPrefix, layers=layers, mapping="one_to_three")
        .gate_weights(stages_of())[:, 0, 0]
        .argmax(-1)
    )
    assert chosen.tolist() == [math.ceil(layer * 4 / layers) - 1 for layer in range(1, layers + 1)]


def test_scales_choose_stages():
    stages, other = stages_of(), stages_of(1)
    one, two = build(PyramidPrefix, scales=(4,)), build(PyramidPrefix, scales=(1, 3))
    assert len(one.gates) == 0
    assert (one.gate_weights(stages) == 1).all()
    assert one([*other[:3], stages[3]], MASK).keys.equal(one(stages, MASK).keys)
    assert two([stages[0], other[1], stages[2], other[3]], MASK).keys.equal(two(stages, MASK).keys)
    assert not two([other[0], *stages[1:]], MASK).keys.equal(two(stages, MASK).keys)


@pytest.mark.parametrize("kind", [PyramidPrefix, ReferencePrefix])
def test_starts_as_bert_does(kind):
    torch.manual_seed(0)
    for name, parameter in kind((256, 512, 1024, 2048), 48, 2, 3).named_parameters():
        expected = 0.0 if name.endswith("bias") else 0.02
        assert parameter.std(unbiased=False).item() == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize("kind", [PyramidPrefix, ReferencePrefix])
def test_a_single_view_will_do(kind):
    result = build(kind)(stages_of(views=1), torch.ones(BATCH, 1, dtype=torch.bool))
    assert result.keys.shape == (4, BATCH, HEADS, 4, HEAD)


@pytest.mark.parametrize("scales", [(), (0, 1), (1, 5), (2, 2)])
def test_impossible_scales_are_refused(scales):
    with pytest.raises(ValueError, match="name different stages from 1 to 4"):
        build(PyramidPrefix, scales=scales)


@pytest.mark.parametrize("kind", [PyramidPrefix, ReferencePrefix])
def test_what_does_not_fit_names_both_sides(kind):
    with pytest.raises(ValueError, match="hidden_size 12 is no multiple of num_heads 5"):
        kind(CHANNELS, 12, 2, 5)
    prefix, stages = build(kind), stages_of()
    with pytest.raises(ValueError, match=r"\(3, 2, 2\).*was built for .*\(10, 2, 2\)"):
        prefix(stages[:3], MASK)
    unpooled = [stage.repeat(1, 1, 1, 2, 2) for stage in stages]
    with pytest.raises(ValueError, match="pool_to=2"):
        prefix(unpooled, MASK)
