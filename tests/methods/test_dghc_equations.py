"""DGHC against the numbered equations of its paper, index by index in float64.

The equations are those of Liu et al., DGHC, IEEE Access 2024. They are quoted as printed, with the
readings that the module declares under Departures.
"""

import itertools
import math

import pytest
import torch
from helpers.literal import affine, dot, matvec, softmax, weighted_sum
from helpers.methods import build_data, build_module, distinct_instances, make_batch, perturb

from mmie.methods.dghc import DGHC, Correlation, ViewGates

D, C, LAYERS = 6, 4, 2
"""Width, number of visual blocks and text layers of the parts that are tested alone."""
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


@pytest.fixture(scope="module")
def data(demo_root, tiny_bert):
    return build_data(demo_root, "ner", tiny_bert, tag_scheme="bioes")


@pytest.fixture(scope="module")
def batch(data):
    """Batch of three posts: with all four pictures, without one crop, without the global one."""
    batch = make_batch(data, distinct_instances(data.instances["train"], 3))
    batch.view_mask[:] = True
    batch.view_mask[1, 2] = False
    batch.view_mask[2, 0] = False
    return batch


@pytest.fixture(scope="module")
def build(data, tiny_bert):
    """Function that builds a DGHC in float64 with perturbed weights."""

    def build(**arguments):
        settings = {"vision_backbone": "test_resnet", "prompt_dim": 10, **arguments}
        return perturb(build_module(DGHC, data.schema, tiny_bert, **settings)).double()

    return build


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_large_weights(module):
    """Draw weights in float64 that are large enough to matter."""
    torch.manual_seed(1)
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def literal_correlation(parts, h, v_i):
    """Compute M and C of one post.

    (2) M = tanh(h^T W_TI v_i)
    (3) C = tanh(W_T h + W_I v_i M)
    """
    width = range(len(h))
    w_ti = parts.match.weight.tolist()
    product = 0.0
    for i in width:
        for j in width:
            product += h[i] * w_ti[i][j] * v_i[j]
    m = math.tanh(product)
    w_t_h = matvec(parts.from_text.weight.tolist(), h)
    w_i_v = matvec(parts.from_picture.weight.tolist(), v_i)
    return [math.tanh(w_t_h[i] + w_i_v[i] * m) for i in width]


def literal_views(parts, h, views):
    """Compute V^C of one post.

    (4) v_i^C = Linear(C v_i)
    (5) V^C = [v_i, v_o1, v_o2, v_o3] * v_i^C
    """
    c = literal_correlation(parts, h, views[0])
    v_c = affine(parts.output, [c[i] * views[0][i] for i in range(len(h))])
    correlated = []
    for view in views:
        correlated.append([view[i] * v_c[i] for i in range(len(h))])
    return correlated


def literal_gates(w_l, views, mask):
    """Compute the gates of one post and layer, over its readable views.

    (7) a = Leaky_ReLU(W_l (1/c sum_{i=1}^c v_i))
    (8) gates = Softmax(a)
    """
    readable = [k for k in range(len(views)) if mask[k]]
    if not readable:
        return [0.0] * len(views)
    mean = weighted_sum([1 / len(readable)] * len(readable), [views[k] for k in readable])
    signal = affine(w_l, mean)
    activated = [signal[k] if signal[k] > 0 else 0.01 * signal[k] for k in readable]
    gates = dict(zip(readable, softmax(activated), strict=True))
    return [gates.get(k, 0.0) for k in range(len(views))]


@torch.no_grad()
def test_equations_2_and_3():
    parts = with_large_weights(Correlation(D))
    text, pictures = random(3, D), random(3, D, seed=1)
    coefficients = parts.coefficients(text, pictures)
    for post in range(3):
        expected = literal_correlation(parts, text[post].tolist(), pictures[post].tolist())
        torch.testing.assert_close(coefficients[post].tolist(), expected, **CLOSE)


@torch.no_grad()
def test_equations_4_and_5():
    parts = with_large_weights(Correlation(D))
    text, views = random(3, D), random(3, C, D, seed=1)
    correlated = parts(text, views, torch.ones(3, C, dtype=torch.bool))
    for post in range(3):
        expected = literal_views(parts, text[post].tolist(), views[post].tolist())
        torch.testing.assert_close(correlated[post].tolist(), expected, **CLOSE)


@torch.no_grad()
def test_equations_6_to_8():
    gates, views = with_large_weights(ViewGates(D, LAYERS, C)), random(4, C, D)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0]]).bool()
    result = gates(views, mask)
    for layer in range(LAYERS):
        for post in range(4):
            expected = literal_gates(gates.layers[layer], views[post].tolist(), mask[post].tolist())
            torch.testing.assert_close(result[layer, post].tolist(), expected, **CLOSE)
    assert (result[0] - result[1]).abs().max() > 1e-2  # every layer has its own W_l


@torch.no_grad()
@pytest.mark.parametrize("gating", ["uniform", "ones"])
def test_ablated_gates(build, batch, gating):
    module, views = build(gating=gating), random(len(batch), C, 64)
    weights = module.gate_weights(views, batch.view_mask)
    assert weights.shape == (module.text.num_layers, len(batch), C)
    for layer, post in itertools.product(range(len(weights)), range(len(batch))):
        mask = batch.view_mask[post].tolist()
        for view in range(C):
            if mask[view]:
                expected = 1 / sum(mask) if gating == "uniform" else 1.0
                assert weights[layer, post, view].item() == pytest.approx(expected, rel=1e-12)
    assert not module.gate_weights(views, torch.zeros_like(batch.view_mask)).isnan().any()


@torch.no_grad()
@pytest.mark.parametrize("projection", ["linear", "mlp"])
@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet"])
def test_equation_1(build, batch, backbone, projection):
    """(1) V = CLIP(i, o_1, o_2, o_3), then the map to the text's width, one picture at a time."""
    module = build(vision_backbone=backbone, view_projection=projection)
    tower, views = module.vision.model, module.view_vectors(batch)
    mean, std = (torch.tensor(tower.pretrained_cfg[name]).double() for name in ("mean", "std"))
    for post, view in itertools.product(range(len(batch)), range(C)):
        expected = [0.0] * module.text.hidden_size
        if batch.view_mask[post, view]:
            picture = batch.pixels[post, view].double() / 255
            normed = (picture - mean[:, None, None]) / std[:, None, None]
            pooled = tower(normed.unsqueeze(0))[0].tolist()
            expected = literal_view_map(module.view_map, pooled, projection)
        torch.testing.assert_close(views[post, view].tolist(), expected, rtol=1e-5, atol=1e-6)


def literal_view_map(view_map, pooled, projection):
    """Compute Linear(x), x where widths agree, or Linear(tanh(Linear(x)))."""
    if projection == "mlp":
        inner = affine(view_map[0], pooled)
        return affine(view_map[2], [math.tanh(value) for value in inner])
    is_left_out = isinstance(view_map, torch.nn.Identity)
    return pooled if is_left_out else affine(view_map, pooled)


@torch.no_grad()
@pytest.mark.parametrize("cls_source", ["encoder", "embeddings"])
def test_equations_9_to_14(build, batch, cls_source):
    """Every layer attends to the prefix of gated views, which follow Equations 2 to 8.

    (10)-(12) Q = H^{l-1} W^Q, K = H^{l-1} W^K, V = H^{l-1} W^V
    (13) phi_k, phi_V = V_g^(l) W_l^phi
    (14) Softmax(Q [phi_k ; K]^T / sqrt(d)) [phi_V ; V], with the d of a head
    """
    module = build(cls_source=cls_source)
    text, views = module.text_vector(batch), module.view_vectors(batch)
    attended = {}

    def keep(index):
        def hook(_layer, inputs, outputs):
            attended[index] = (inputs[0], outputs[0])

        return hook

    layers = module.text.model.encoder.layer
    for index, layer in enumerate(layers):
        layer.attention.self.register_forward_hook(keep(index))
    module.encode(batch)
    for post in range(len(batch)):
        correlated = literal_views(module.correlation, text[post].tolist(), views[post].tolist())
        for index, layer in enumerate(layers):
            mask = batch.view_mask[post].tolist()
            gates = literal_gates(module.gates.layers[index], correlated, mask)
            prefix = []
            for view in range(C):
                if mask[view]:
                    gated = [gates[view] * value for value in correlated[view]]
                    prefix.append(affine(module.projections[index], gated))
            length = int(batch.attention_mask[post].sum())
            states, context = (part[post, :length] for part in attended[index])
            expected = literal_attention(layer.attention.self, states.tolist(), prefix)
            torch.testing.assert_close(context.tolist(), expected, rtol=1e-7, atol=1e-9)


def literal_attention(attention, states, prefix):
    """Compute Equations 10 to 14 for one post, with prefix [phi_k ; phi_V] of each position."""
    size, width = attention.attention_head_size, len(states[0])
    queries = [affine(attention.query, state) for state in states]
    keys = [pair[:width] for pair in prefix] + [affine(attention.key, state) for state in states]
    values = [pair[width:] for pair in prefix]
    values += [affine(attention.value, state) for state in states]
    results = []
    for query in queries:
        result = []
        for start in range(0, width, size):
            head = slice(start, start + size)
            scores = [dot(query[head], key[head]) / math.sqrt(size) for key in keys]
            result += weighted_sum(softmax(scores), [value[head] for value in values])
        results.append(result)
    return results


@torch.no_grad()
def test_equations_15_to_17(build, batch):
    """The label sequences of texts of two words are enumerated.

    (15) p(y | H) = prod_i F_i(y_{i-1}, y_i, H) / sum_{y'} prod_i F_i(y'_{i-1}, y'_i, H)
    (16) Loss = sum log p(Y | H), here the mean of -log p over the posts
    (17) y* = argmax_y p(y | H)
    """
    module = build()
    head, num_tags = module.head, module.head.crf.num_tags
    batch.word_mask[:] = torch.arange(batch.word_mask.shape[1]) < 2
    states = module.encode(batch).states
    losses, decoded = [], head.decode(states, batch)
    for post in range(len(batch)):
        scores = [affine(head.emission, states[post, i].tolist()) for i in batch.word_starts[post]]
        potentials = {}
        for labels in itertools.product(range(num_tags), repeat=2):
            potentials[labels] = literal_potential(head.crf, scores, labels)
        total = sum(potentials.values())
        gold = tuple(batch.tags[post, :2].tolist())
        losses.append(-math.log(potentials[gold] / total))
        assert tuple(decoded[post, :2].tolist()) == max(potentials, key=potentials.__getitem__)
    loss = head.loss(states, batch).mean().item()
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def literal_potential(crf, scores, labels):
    """Compute prod_i F_i, which is 0 for transitions that BIOES rules out."""
    ruled_out = bool(crf.forbidden_starts[labels[0]] or crf.forbidden_ends[labels[-1]])
    total = crf.start_transitions[labels[0]].item() + crf.end_transitions[labels[-1]].item()
    for i, label in enumerate(labels):
        total += scores[i][label]
        if i:
            ruled_out |= bool(crf.forbidden_transitions[labels[i - 1], label])
            total += crf.transitions[labels[i - 1], label].item()
    return 0.0 if ruled_out else math.exp(total)
