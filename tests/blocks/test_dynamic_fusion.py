"""RAP's units and router (Section 3.4) against the paper's Equations 10 to 19.

The transcriptions loop over the single numbers that the equations' indices name.
"""

import math

import pytest
import torch
from helpers.literal import (
    Vector,
    add,
    affine,
    dot,
    gelu,
    layer_norm,
    masked_rows,
    relu,
    softmax,
    weighted_sum,
)
from torch import nn

from mmie.blocks.dynamic_fusion import CFU, FSRU, RAU, DynamicFusion, Router

POSTS, TOKENS, VIEWS, HIDDEN, HEADS = 3, 6, 4, 8, 2
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]]).bool()
VIEW_MASK = torch.tensor([[0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]]).bool()
BETA = torch.tensor([0.9, -0.4, 2.0], dtype=torch.float64)
UNITS = ("rau", "fsru", "cfu")

pytestmark = pytest.mark.usefixtures("_double_precision")


@pytest.fixture
def text():
    return torch.randn(POSTS, TOKENS, HIDDEN)


@pytest.fixture
def views():
    return torch.randn(POSTS, VIEWS, HIDDEN) * VIEW_MASK.unsqueeze(-1)


def randomise(module):
    """Draw all parameters, so that none is an identity by its initial value."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def attend(attention, queries: list[Vector], memory: list[Vector]) -> list[Vector]:
    """Compute multi-head attention of one post, 0 without memory."""
    size = HIDDEN // HEADS
    keys = [affine(attention.key, state) for state in memory]
    values = [affine(attention.value, state) for state in memory]
    results = []
    for state in queries:
        if not memory:
            results.append([0.0] * HIDDEN)
            continue
        query, heads = affine(attention.query, state), []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = [dot(query[part], key[part]) / math.sqrt(size) for key in keys]
            heads += weighted_sum(softmax(scores), [value[part] for value in values], size)
        results.append(affine(attention.output, heads))
    return results


def feed_forward(layers, vector):
    """Compute two linear maps with GELU between them."""
    inner = affine(layers[0], vector)
    return affine(layers[2], [gelu(value) for value in inner])


def equation_10(x):
    """U_0(X) = ReLU(X)."""
    return [relu(row) for row in x]


def equations_11_and_12(unit, x):
    """X_mha = Norm(X + MHA(X)), U_1(X) = Norm(FFN(X_mha) + X_mha)."""
    attended, result = attend(unit.attention, x, x), []
    for i in range(len(x)):
        x_mha = layer_norm(unit.norm_attention, add(x[i], attended[i]))
        result.append(layer_norm(unit.norm, add(feed_forward(unit.feed_forward, x_mha), x_mha)))
    return result


def equations_13_to_16(unit, x, e_v, beta):
    """X_av = CMA(Norm(E_v; X)), X'_av = R-Gate(beta) X_av, X''_av = X + X'_av, and U_2."""
    queries = [layer_norm(unit.norm_attention, row) for row in x]
    memory = [layer_norm(unit.norm_views, row) for row in e_v]
    x_av, result = attend(unit.attention, queries, memory), []
    for i in range(len(x)):
        gated = [math.tanh(beta) * x_av[i][d] for d in range(HIDDEN)]
        summed = add(x[i], gated)
        inner = feed_forward(unit.feed_forward, layer_norm(unit.norm, summed))
        result.append(add(summed, inner))
    return result


def equation_19(router, x):
    """R(X) = ReLU(tanh(MLP(1/M sum_r X_r)))."""
    mean = [0.0] * HIDDEN
    for r in range(len(x)):
        for d in range(HIDDEN):
            mean[d] += x[r][d] / len(x)
    logits = affine(router[2], relu(affine(router[0], mean)))
    return [max(0.0, math.tanh(logit)) for logit in logits]


def compute_unit(unit, x, e_v, beta):
    if isinstance(unit, RAU):
        return equation_10(x)
    if isinstance(unit, FSRU):
        return equations_11_and_12(unit, x)
    return equations_13_to_16(unit, x, e_v, beta)


def equations_17_and_18(fusion, x, e_v, beta, normalize):
    """X_i = sum_j g_ji H_j, with g_ji = R_j(X_j)_i of the unit j in the layer before.

    ``normalize`` divides g_ji by sum_j g_ji, which the paper does not.
    """
    inputs, routing = [x] * len(fusion.layers[0]), []
    for layer, routers in zip(fusion.layers, fusion.routers, strict=True):
        h = [compute_unit(layer[j], inputs[j], e_v, beta) for j in range(len(layer))]
        g = [equation_19(routers[j], inputs[j]) for j in range(len(layer))]
        routing += [weight for weights in g for weight in weights]
        following = []
        for i in range(len(g[0])):
            column = [g[j][i] for j in range(len(layer))]
            total = sum(column)
            if normalize:
                open_unit = [1.0, *[0.0] * (len(layer) - 1)]
                column = [weight / total for weight in column] if total else open_unit
            x_i = []
            for token in range(len(x)):
                rows = [h[j][token] for j in range(len(layer))]
                x_i.append(weighted_sum(column, rows, HIDDEN))
            following.append(x_i)
        inputs = following
    return inputs[0], routing


def check_unit(result, text, views, expected_of_post):
    """Compare the real tokens of every post with a transcription."""
    for post in range(POSTS):
        x = masked_rows(text[post], MASK[post])
        e_v = masked_rows(views[post], VIEW_MASK[post])
        expected = expected_of_post(x, e_v, BETA[post].item())
        actual = masked_rows(result[post], MASK[post])
        for i in range(len(x)):
            assert actual[i] == pytest.approx(expected[i], rel=1e-10, abs=1e-12)


def test_equation_10(text, views):
    result = RAU(HIDDEN, HEADS)(text, MASK, views, VIEW_MASK, BETA.tanh())
    check_unit(result, text, views, lambda x, e_v, beta: equation_10(x))


def test_equations_11_and_12(text, views):
    unit = randomise(FSRU(HIDDEN, HEADS))
    result = unit(text, MASK, views, VIEW_MASK, BETA.tanh())
    check_unit(result, text, views, lambda x, e_v, beta: equations_11_and_12(unit, x))


def test_equations_13_to_16(text, views):
    unit = randomise(CFU(HIDDEN, HEADS))
    result = unit(text, MASK, views, VIEW_MASK, BETA.tanh())
    check_unit(result, text, views, lambda x, e_v, beta: equations_13_to_16(unit, x, e_v, beta))


def test_inner_layers_of_units_are_four_times_as_wide():
    for unit in (FSRU(HIDDEN, HEADS), CFU(HIDDEN, HEADS)):
        assert unit.feed_forward[0].out_features == 4 * HIDDEN


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("units", [UNITS, ("fsru", "cfu")])
def test_equations_17_to_19(text, views, normalize, num_layers, units):
    fusion = randomise(DynamicFusion(HIDDEN, HEADS, num_layers, units, normalize, router_size=5))
    fused, routing = fusion(text, MASK, views, VIEW_MASK, BETA.tanh())
    count = len(units)
    assert routing.shape == (POSTS, count**2 * (num_layers - 1) + count)  # U^2 (L - 1) + U
    assert (routing == 0).any()  # a closed path is needed to test the rectifier
    for post in range(POSTS):
        x = masked_rows(text[post], MASK[post])
        e_v = masked_rows(views[post], VIEW_MASK[post])
        expected, paths = equations_17_and_18(fusion, x, e_v, BETA[post].item(), normalize)
        actual = masked_rows(fused[post], MASK[post])
        for token in range(len(x)):
            assert actual[token] == pytest.approx(expected[token], rel=1e-9, abs=1e-11)
        assert routing[post].tolist() == pytest.approx(paths, rel=1e-9, abs=1e-12)


def test_router_size():
    router = Router(HIDDEN, 3, inner_size=5)
    assert router[0].out_features == 5
    assert Router(HIDDEN, 3)[0].out_features == 128


def test_all_paths_are_open_at_the_start(text, views):
    for seed in range(3):
        torch.manual_seed(seed)
        fusion = DynamicFusion(HIDDEN, HEADS, 4, UNITS, True)
        _, routing = fusion(text, MASK, views, VIEW_MASK, torch.ones(POSTS))
        assert ((routing > 0.8) & (routing < 0.96)).all()


@pytest.mark.parametrize(
    ("units", "open_unit"),
    [(UNITS, 0), (("cfu", "rau", "fsru"), 1), (("cfu", "fsru"), 0)],
)
def test_target_without_open_paths_receives_the_rau_else_the_first_unit(units, open_unit):
    fusion = DynamicFusion(HIDDEN, HEADS, 2, units, True)
    weights = torch.zeros(1, len(units), 2)  # (batch, units, targets)
    weights[0, 0, 1], weights[0, -1, 1] = 0.2, 0.6
    weights.requires_grad_()
    shares = fusion.normalize(weights)
    expected = torch.zeros(1, len(units), 2)
    expected[0, open_unit, 0] = 1
    expected[0, 0, 1], expected[0, -1, 1] = 0.25, 0.75
    torch.testing.assert_close(shares, expected)
    (shares * torch.randn_like(shares)).sum().backward()
    assert weights.grad.isfinite().all()
    assert weights.grad[0, :, 1].any()


def test_closed_routers_have_finite_gradients(text, views):
    fusion = DynamicFusion(HIDDEN, HEADS, 2, UNITS, True)
    for routers in fusion.routers:
        for router in routers:
            nn.init.constant_(router[2].bias, -5)
    fused, routing = fusion(text, MASK, views, VIEW_MASK, torch.ones(POSTS))
    assert (routing == 0).all()
    torch.testing.assert_close(fused, text.relu())  # the RAU, twice
    fused.sum().backward()
    assert all(p.grad.isfinite().all() for p in fusion.parameters() if p.grad is not None)
