"""RAP's equations against literal versions, number by number."""

import math

import pytest
import torch
from helpers.methods import (
    batch_without_views,
    build_module,
    distinct_instances,
    encode,
    make_batch,
    perturb,
)
from torch import nn

from mmie.methods import RAP
from mmie.methods.rap import CFU, FSRU, RAU, DynamicFusion, Relevance

POSTS, TOKENS, VIEWS, HIDDEN, HEADS = 3, 6, 4, 8, 2
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]]).bool()
WORDS = torch.tensor([[0, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0]]).bool()
VIEW_MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]]).bool()

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def text():
    return torch.randn(POSTS, TOKENS, HIDDEN)


@pytest.fixture
def views():
    return torch.randn(POSTS, VIEWS, HIDDEN) * VIEW_MASK.unsqueeze(-1)


def dot(left, right):
    return sum(a * b for a, b in zip(left.tolist(), right.tolist(), strict=True))


def cosine(left, right):
    length = math.sqrt(dot(left, left) * dot(right, right))
    return dot(left, right) / length if length else 0.0


def softmax(scores):
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def mix(weights, vectors):
    return sum(
        (weight * vector for weight, vector in zip(weights, vectors, strict=True)),
        torch.zeros(vectors[0].shape),
    )


def linear(layer, vector):
    rows = torch.tensor([dot(row, vector) for row in layer.weight])
    return rows if layer.bias is None else rows + layer.bias.detach()


def literal_compare(left, right, layer):
    scaled = linear(
        layer,
        torch.tensor([(a - b) ** 2 for a, b in zip(left.tolist(), right.tolist(), strict=True)]),
    )
    return scaled / math.sqrt(dot(scaled, scaled))


def literal_attended(word, views):
    """Compute Equations 2 to 4 for one word and the readable views."""
    if not views:
        return torch.zeros(HIDDEN)
    positive = [max(0.0, cosine(word, view)) for view in views]
    norm = math.sqrt(sum(value**2 for value in positive)) or 1.0
    return mix(softmax([9 * value / norm for value in positive]), views)


def literal_propagate(relevance, nodes):
    """Compute Equations 6 to 8 for the nodes of one post."""
    for _ in range(2):
        edges = [
            softmax([dot(linear(relevance.source, s), linear(relevance.target, t)) for t in nodes])
            for s in nodes
        ]
        nodes = [linear(relevance.update, mix(weights, nodes)).relu() for weights in edges]
    return nodes


def literal_pool(pooling, states):
    if not states:
        return torch.zeros(HIDDEN)
    return mix(softmax([linear(pooling.score, state).item() for state in states]), states)


def literal_norm(norm, vector):
    mean = vector.mean()
    variance = ((vector - mean) ** 2).mean()
    return (vector - mean) / (variance + 1e-5).sqrt() * norm.weight.detach() + norm.bias.detach()


def literal_attention(attention, queries, memory):
    """Compute multi-head attention of one post, head by head."""
    size, results = HIDDEN // HEADS, []
    for query in queries:
        heads = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            q = linear(attention.query, query)[part]
            keys = [linear(attention.key, state)[part] for state in memory]
            values = [linear(attention.value, state)[part] for state in memory]
            heads.append(mix(softmax([dot(q, key) / math.sqrt(size) for key in keys]), values))
        results.append(linear(attention.output, torch.cat(heads)))
    return results


def literal_feed_forward(layers, vector):
    inner = linear(layers[0], vector)
    gelu = torch.tensor([0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in inner.tolist()])
    assert len(inner) == 4 * HIDDEN
    return linear(layers[2], gelu)


def randomise(module):
    """Draw all parameters, so that none is an identity by its initial value."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def rows(states, mask):
    return [state for state, keep in zip(states, mask.tolist(), strict=True) if keep]


def test_compare_equals_equation_1():
    relevance = Relevance(HIDDEN, size=5)
    left, right = torch.randn(2, 3, HIDDEN), torch.randn(2, 3, HIDDEN)
    result = relevance.compare(left, right, relevance.compare_local)
    assert result.shape == (2, 3, 5)
    for post in range(2):
        for word in range(3):
            expected = literal_compare(left[post, word], right[post, word], relevance.compare_local)
            torch.testing.assert_close(result[post, word], expected)


def test_compare_of_equal_vectors_is_0_with_finite_gradients():
    relevance, vector = Relevance(HIDDEN, size=5), torch.randn(1, HIDDEN, requires_grad=True)
    result = relevance.compare(vector, vector.detach(), relevance.compare_local)
    assert (result == 0).all()
    result.sum().backward()
    assert vector.grad.isfinite().all()


def test_attended_views_equal_equations_2_to_4(text, views):
    result = Relevance(HIDDEN).attend_views(text, views, VIEW_MASK)
    for post in range(POSTS):
        for token in range(TOKENS):
            expected = literal_attended(text[post, token], rows(views[post], VIEW_MASK[post]))
            torch.testing.assert_close(result[post, token], expected)


def test_attention_is_uniform_if_all_cosines_are_negative():
    word = torch.ones(1, 1, HIDDEN)
    views = -torch.rand(1, 2, HIDDEN) - 0.1
    result = Relevance(HIDDEN).attend_views(word, views, torch.ones(1, 2).bool())
    torch.testing.assert_close(result[0, 0], views[0].mean(0))


def test_masked_views_are_not_attended_to(text, views):
    relevance, other = (
        Relevance(HIDDEN),
        torch.where(VIEW_MASK.unsqueeze(-1), views, torch.randn_like(views)),
    )
    assert not torch.equal(other, views)
    torch.testing.assert_close(
        relevance.attend_views(text, other, VIEW_MASK),
        relevance.attend_views(text, views, VIEW_MASK),
    )


def test_propagation_equals_equations_6_to_8():
    relevance = randomise(Relevance(HIDDEN, size=5))
    nodes = torch.randn(POSTS, 1 + TOKENS, 5)
    mask = nn.functional.pad(WORDS, (1, 0), value=True)
    result = relevance.propagate(nodes, mask)
    for post in range(POSTS):
        expected = literal_propagate(relevance, rows(nodes[post], mask[post]))
        actual = torch.stack(rows(result[post], mask[post]))
        torch.testing.assert_close(actual, torch.stack(expected))


def test_beta_equals_algorithm_1(text, views):
    relevance = randomise(Relevance(HIDDEN, size=5))
    beta = relevance(text, MASK, WORDS, views, VIEW_MASK)
    assert beta.shape == (POSTS,)
    for post in range(POSTS):
        readable = rows(views[post], VIEW_MASK[post])
        whole_text = literal_pool(relevance.text_pooling, rows(text[post], MASK[post]))
        nodes = [
            literal_compare(
                whole_text, literal_pool(relevance.view_pooling, readable), relevance.compare_global
            )
        ]
        for word in rows(text[post], WORDS[post]):
            nodes.append(
                literal_compare(word, literal_attended(word, readable), relevance.compare_local)
            )
        global_node = literal_propagate(relevance, nodes)[0]
        assert beta[post].item() == pytest.approx(linear(relevance.score, global_node).item())


def test_relevance_size_is_the_papers():
    assert Relevance(HIDDEN).compare_local.out_features == 256


def test_rau_equals_equation_10(text, views):
    result = RAU(HIDDEN, HEADS)(text, MASK, views, VIEW_MASK, torch.ones(POSTS))
    assert torch.equal(result, torch.where(text > 0, text, torch.zeros_like(text)))


def test_fsru_equals_equations_11_and_12(text, views):
    unit = randomise(FSRU(HIDDEN, HEADS))
    result = unit(text, MASK, views, VIEW_MASK, torch.ones(POSTS))
    for post in range(POSTS):
        states = rows(text[post], MASK[post])
        attended = literal_attention(unit.attention, states, states)
        for actual, state, other in zip(
            rows(result[post], MASK[post]), states, attended, strict=True
        ):
            inner = literal_norm(unit.norm_attention, state + other)
            expected = literal_norm(
                unit.norm, literal_feed_forward(unit.feed_forward, inner) + inner
            )
            torch.testing.assert_close(actual, expected)


def test_cfu_equals_equations_13_to_16(text, views):
    unit, gate = randomise(CFU(HIDDEN, HEADS)), torch.tensor([0.7, -0.4, 0.9])
    result = unit(text, MASK, views, VIEW_MASK, gate)
    for post in range(POSTS):
        states, readable = rows(text[post], MASK[post]), rows(views[post], VIEW_MASK[post])
        queries = [literal_norm(unit.norm_attention, state) for state in states]
        attended = (
            literal_attention(unit.attention, queries, readable)
            if readable
            else [torch.zeros(HIDDEN)] * len(states)
        )
        for actual, state, other in zip(
            rows(result[post], MASK[post]), states, attended, strict=True
        ):
            fused = state + gate[post] * other
            expected = fused + literal_feed_forward(
                unit.feed_forward, literal_norm(unit.norm, fused)
            )
            torch.testing.assert_close(actual, expected)


def literal_route(router, states):
    """Compute ReLU(tanh(MLP(mean over tokens))) for one post."""
    inner = linear(router[0], sum(states) / len(states)).relu()
    return [max(0.0, math.tanh(value)) for value in linear(router[2], inner).tolist()]


def literal_shares(weights):
    """Divide weights into one target by their sum, or choose the first unit if it is 0."""
    total = sum(weights)
    return [weight / total for weight in weights] if total else [1.0, *[0.0] * (len(weights) - 1)]


def literal_fusion(fusion, text, views, view_mask, gate, normalize):
    """Compute X_mm and the routing of one post without padding, unit by unit."""
    inputs, routing = [text] * len(fusion.layers[0]), []
    for units, routers in zip(fusion.layers, fusion.routers, strict=True):
        everything = torch.ones(1, len(text)).bool()
        outputs = [
            unit(x[None], everything, views[None], view_mask[None], gate[None])[0].detach()
            for unit, x in zip(units, inputs, strict=True)
        ]
        paths = [literal_route(router, list(x)) for router, x in zip(routers, inputs, strict=True)]
        routing += [weight for unit in paths for weight in unit]
        inputs = []
        for target in range(len(paths[0])):
            weights = [unit[target] for unit in paths]
            inputs.append(mix(literal_shares(weights) if normalize else weights, outputs))
    return inputs[0], routing


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("units", [("rau", "fsru", "cfu"), ("fsru", "cfu")])
def test_dynamic_fusion_equals_equations_17_to_19(text, views, normalize, num_layers, units):
    fusion = randomise(DynamicFusion(HIDDEN, HEADS, num_layers, units, normalize))
    gate = torch.tensor([0.7, -0.4, 0.9])
    fused, routing = fusion(text, MASK, views, VIEW_MASK, gate)
    count = len(units)
    assert routing.shape == (POSTS, count**2 * (num_layers - 1) + count)
    assert (routing == 0).any()  # a closed path is needed to test the rectifier
    for post in range(POSTS):
        states = text[post, : MASK[post].sum()]
        expected, paths = literal_fusion(
            fusion, states, views[post], VIEW_MASK[post], gate[post], normalize
        )
        torch.testing.assert_close(fused[post, : len(states)], expected)
        torch.testing.assert_close(routing[post], torch.tensor(paths))


def test_all_paths_are_open_at_the_start(text, views):
    for seed in range(3):
        torch.manual_seed(seed)
        fusion = DynamicFusion(HIDDEN, HEADS, 4, ("rau", "fsru", "cfu"), True)
        _, routing = fusion(text, MASK, views, VIEW_MASK, torch.ones(POSTS))
        assert ((routing > 0.8) & (routing < 0.96)).all()


def test_target_without_open_paths_receives_the_first_unit():
    fusion = DynamicFusion(HIDDEN, HEADS, 2, ("rau", "fsru", "cfu"), True)
    # (batch, units, targets)
    weights = torch.tensor([[[0.0, 0.2], [0.0, 0.0], [0.0, 0.6]]], requires_grad=True)
    shares = fusion.normalize(weights)
    torch.testing.assert_close(shares, torch.tensor([[[1.0, 0.25], [0.0, 0.0], [0.0, 0.75]]]))
    (shares * torch.randn_like(shares)).sum().backward()
    assert weights.grad.isfinite().all()
    assert weights.grad[0, :, 1].any()


def test_closed_routers_have_finite_gradients(text, views):
    fusion = DynamicFusion(HIDDEN, HEADS, 2, ("rau", "fsru", "cfu"), True)
    for routers in fusion.routers:
        for router in routers:
            nn.init.constant_(router[2].bias, -5)
    fused, routing = fusion(text, MASK, views, VIEW_MASK, torch.ones(POSTS))
    assert (routing == 0).all()
    torch.testing.assert_close(fused, text.relu())  # the first unit, twice
    fused.sum().backward()
    assert all(p.grad.isfinite().all() for p in fusion.parameters() if p.grad is not None)


@pytest.fixture
def rap(demo_data, tiny_bert):
    """RAP in double precision, and a batch of posts of different length."""
    data = demo_data("ner", tiny_bert)
    settings = {"vision_backbone": "test_resnet", "num_fusion_layers": 2, "prompt_length": 3}
    torch.set_default_dtype(torch.float32)
    module = perturb(build_module(RAP, data.schema, tiny_bert, **settings)).double()
    torch.set_default_dtype(torch.float64)
    return module, make_batch(data, distinct_instances(data.instances["train"], 5))


def test_prompt_equals_equation_23(rap):
    module, batch = rap
    mask, hidden, layers, heads = (
        batch.attention_mask,
        module.text.hidden_size,
        module.text.num_layers,
        4,
    )
    fused = torch.randn(*mask.shape, hidden)
    prefix = module.prompt(fused, mask)
    assert prefix.mask is None
    assert (
        prefix.keys.shape == prefix.values.shape == (layers, len(batch), heads, 3, hidden // heads)
    )
    for post in range(len(batch)):
        states = rows(fused[post], mask[post])
        for position in range(3):
            weights = module.length_map.weight[position]
            bias = module.length_map.bias[position].item()
            mapped = mix(weights[: len(states)].tolist(), states) + bias
            inner = torch.relu(module.prompt_in(mapped))
            prompt = module.prompt_out(inner)  # (2 * layers * hidden,)
            for layer in range(layers):
                for index, actual in enumerate((prefix.keys, prefix.values)):
                    first = (2 * layer + index) * hidden
                    expected = prompt[first : first + hidden].view(heads, -1)
                    torch.testing.assert_close(actual[layer, post, :, position], expected)


def test_padding_does_not_change_the_prompt(rap):
    module, batch = rap
    mask = batch.attention_mask
    assert not mask.all()
    fused = torch.randn(*mask.shape, module.text.hidden_size)
    other = torch.where(mask.unsqueeze(-1), fused, torch.randn_like(fused))
    torch.testing.assert_close(
        module.prompt(fused, mask).keys, module.prompt(other, mask).keys, rtol=0, atol=0
    )


def test_encode_runs_the_text_encoder_twice(rap):
    module, batch = rap
    first = module.encode_text(batch)
    text, views = module.features(first, batch)
    (pooled,) = module.encode_images(batch)
    torch.testing.assert_close(text, module.text_map(first))
    torch.testing.assert_close(views[batch.view_mask], module.view_map(pooled[batch.view_mask]))
    assert (views[~batch.view_mask] == 0).all()
    beta = module.relevance(text, batch.attention_mask, batch.text_mask, views, batch.view_mask)
    fused, routing = module.fusion(text, batch.attention_mask, views, batch.view_mask, beta.tanh())
    encoding = module.encode(batch)
    expected = module.encode_text(batch, module.prompt(fused, batch.attention_mask))
    torch.testing.assert_close(encoding.states, expected)
    assert not torch.allclose(encoding.states, first, atol=1e-3)
    assert encoding.losses.keys() == {"router"}
    torch.testing.assert_close(
        encoding.losses["router"], 1.5 * module.router_loss(routing, first[:, 0])
    )


def test_router_loss_equals_equation_22(rap):
    routing, cls = torch.rand(5, 12), torch.randn(5, 64)
    total = 0.0
    for i in range(5):
        for j in range(5):
            if i != j:
                total += (cosine(routing[i], routing[j]) - cosine(cls[i], cls[j])) ** 2
    assert rap[0].router_loss(routing, cls).item() == pytest.approx(total / 20, rel=1e-5)


def test_router_loss_has_no_gradient_for_the_text(rap):
    routing, cls = torch.rand(3, 12, requires_grad=True), torch.randn(3, 64, requires_grad=True)
    rap[0].router_loss(routing, cls).backward()
    assert routing.grad.any()
    assert cls.grad is None


def test_router_loss_of_one_post_is_0(rap):
    routing = torch.rand(1, 12, requires_grad=True)
    loss = rap[0].router_loss(routing, torch.randn(1, 64))
    assert loss.item() == 0
    loss.backward()
    assert routing.grad.isfinite().all()


def test_router_loss_of_closed_paths_is_finite(rap):
    routing = torch.zeros(3, 12, requires_grad=True)
    loss = rap[0].router_loss(routing, torch.randn(3, 64))
    loss.backward()
    assert loss.isfinite()
    assert routing.grad.isfinite().all()


def test_prompt_is_small_at_the_start(demo_data, tiny_bert):
    torch.set_default_dtype(torch.float32)
    data = demo_data("ner", tiny_bert)
    module = build_module(RAP, data.schema, tiny_bert, vision_backbone="test_resnet")
    assert module.prompt_out.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * 2), rel=0.05)
    assert not module.prompt_out.bias.any()
    prefix = module.prompt(torch.randn(2, 9, 64), torch.ones(2, 9).bool())
    assert max(prefix.keys.abs().max(), prefix.values.abs().max()) < 0.1


def test_states_and_gradients_without_views_are_finite(rap):
    module, batch = rap
    module.train()
    encoding = module.encode(batch_without_views(batch))
    assert encoding.states.isfinite().all()
    (encoding.states.sum() + sum(encoding.losses.values())).backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not torch.equal(encode(module, batch_without_views(batch)), encode(module, batch))
