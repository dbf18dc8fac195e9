"""DGHC's equations against literal versions, its switches and its gradients."""

import inspect
import math
from dataclasses import replace

import pytest
import torch
from helpers.methods import (
    batch_without_views,
    build_data,
    build_module,
    distinct_instances,
    encode,
    make_batch,
    parameter_rates,
    parameters_without_gradient,
    perturb,
    random_pixels_like,
    training_loss,
)

from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.vision import VisualBackbone
from mmie.methods.dghc import DGHC, Correlation, ViewGates

pytestmark = pytest.mark.filterwarnings(
    "ignore:You are trying to `self.log", "ignore:.*in eval mode"
)

BATCH, VIEWS, HIDDEN, LAYERS = 3, 4, 6, 2
MASK = torch.tensor(
    [[True, True, False, True], [True, False, False, False], [False, False, False, False]]
)
BACKBONES = ["test_vit", "test_resnet"]


@pytest.fixture(scope="module")
def data(demo_data, tiny_bert):
    return demo_data("ner", tiny_bert)


@pytest.fixture(scope="module")
def batch(data):
    """Batch of eight posts with at least a picture and a crop."""
    return make_batch(data, distinct_instances(data.instances["train"], 8))


@pytest.fixture
def build(data, tiny_bert):
    """Function that builds a DGHC, perturbed by default."""

    def build(perturbed=True, schema=data.schema, **arguments):
        module = build_module(
            DGHC,
            schema,
            tiny_bert,
            **{"vision_backbone": "test_vit", "prompt_dim": 10, **arguments},
        )
        return perturb(module) if perturbed else module

    return build


def linear(layer, vector):
    """Compute W x + b for one vector."""
    return layer.weight @ vector + (0 if layer.bias is None else layer.bias)


def random_views_and_text(seed=0):
    """Draw views (batch, views, hidden), 0 where masked, and text vectors (batch, hidden)."""
    generator = torch.Generator().manual_seed(seed)
    views = torch.randn(BATCH, VIEWS, HIDDEN, generator=generator) * MASK.unsqueeze(-1)
    return views, torch.randn(BATCH, HIDDEN, generator=generator)


def with_large_weights(module):
    """Draw weights that are large enough to matter."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data.normal_(std=0.5)
    return module


@torch.no_grad()
def literal_coefficients(correlation, text, picture):
    """Compute Equations 2 and 3 for one post."""
    match, width = correlation.match.weight, range(len(text))
    product = math.tanh(sum(float(text[i] * match[i] @ picture) for i in width))
    return torch.tanh(
        linear(correlation.from_text, text) + linear(correlation.from_picture, picture * product)
    )


@torch.no_grad()
def literal_correlated(correlation, text, views):
    """Compute Equations 4 and 5 for one post, (views, hidden)."""
    coefficients = literal_coefficients(correlation, text, views[0])
    correlated = linear(correlation.output, coefficients * views[0])
    return torch.stack([view * correlated for view in views])


@torch.no_grad()
def literal_gates(layer, views, mask):
    """Compute Equations 7 and 8 for one post and layer, over readable views."""
    readable = [k for k in range(len(views)) if mask[k]]
    if not readable:
        return [0.0] * len(views)
    signal = linear(layer, sum(views[k] for k in readable) / len(readable)).tolist()
    exponents = {k: math.exp(signal[k] if signal[k] > 0 else 0.01 * signal[k]) for k in readable}
    return [exponents.get(k, 0.0) / sum(exponents.values()) for k in range(len(views))]


@torch.no_grad()
def test_coefficients_and_correlated_views_equal_equations_2_to_5():
    correlation, (views, text) = with_large_weights(Correlation(HIDDEN)), random_views_and_text()
    coefficients, correlated = correlation.coefficients(text, views[:, 0]), correlation(text, views)
    for row in range(BATCH):
        expected = literal_coefficients(correlation, text[row], views[row, 0])
        torch.testing.assert_close(coefficients[row], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            correlated[row],
            literal_correlated(correlation, text[row], views[row]),
            atol=1e-5,
            rtol=1e-4,
        )
    assert (correlated[~MASK] == 0).all()


@torch.no_grad()
def test_gates_equal_equations_6_to_8_over_readable_views():
    gates, (views, _) = (
        with_large_weights(ViewGates(HIDDEN, LAYERS, VIEWS)),
        random_views_and_text(),
    )
    result = gates(views, MASK)
    assert result.shape == (LAYERS, BATCH, VIEWS)
    for layer in range(LAYERS):
        for row in range(BATCH):
            expected = literal_gates(gates.layers[layer], views[row], MASK[row])
            assert result[layer, row].tolist() == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(result.sum(-1), MASK.any(-1).float().expand(LAYERS, -1))
    assert result[:, 0].std(dim=0)[MASK[0]].min() > 1e-3  # the layers differ


@torch.no_grad()
@pytest.mark.parametrize("backbone", BACKBONES)
def test_view_vectors_equal_equation_1_one_picture_at_a_time(build, batch, backbone):
    module = build(vision_backbone=backbone)
    timm_model, views = module.vision.model, module.view_vectors(batch)
    mean, std = (
        torch.tensor(timm_model.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std")
    )
    inner, _, outer = module.view_map
    for row in range(2):
        for view in range(VIEWS):
            expected = torch.zeros(module.text.hidden_size)
            if batch.view_mask[row, view]:
                pooled = timm_model(((batch.pixels[row, view] / 255 - mean) / std).unsqueeze(0))[0]
                expected = linear(outer, torch.tanh(linear(inner, pooled)))
            torch.testing.assert_close(views[row, view], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@torch.no_grad()
def test_default_backbone_returns_the_cls_state_after_the_last_norm(batch):
    name = inspect.signature(DGHC.__init__).parameters["vision_backbone"].default
    vision = VisualBackbone(name, pretrained=False, image_size=64).eval()
    pixels = batch.pixels[:2, 0]
    tokens = vision.model.forward_features((pixels - vision.mean) / vision.std)
    assert tokens.shape[1] == 1 + (64 // 32) ** 2
    assert torch.equal(vision(pixels)[0], tokens[:, 0])
    assert (tokens.mean(-1).abs() < 1e-5).all()  # the norm's weights are still 1 and 0


@torch.no_grad()
def test_states_equal_the_paper_step_by_step(build, batch):
    module = build()
    text, views = module.encode_text(batch)[:, 0], module.view_vectors(batch)
    heads, size = module.text.num_heads, module.text.hidden_size // module.text.num_heads
    pairs = torch.zeros(2, module.text.num_layers, len(batch), heads, VIEWS, size)
    for row in range(len(batch)):
        correlated = literal_correlated(module.correlation, text[row], views[row])
        for layer in range(module.text.num_layers):
            gates = literal_gates(module.gates.layers[layer], correlated, batch.view_mask[row])
            for view in range(VIEWS):
                both = linear(module.projections[layer], gates[view] * correlated[view])
                pairs[:, layer, row, :, view] = both.view(2, heads, size)
    expected = module.encode_text(batch, Prefix(pairs[0], pairs[1], batch.view_mask))
    encoding = module.encode(batch)
    assert encoding.losses == {}
    torch.testing.assert_close(encoding.states, expected, rtol=1e-4, atol=1e-4)
    effect_of_prefix = (expected - module.encode_text(batch))[batch.attention_mask]
    assert effect_of_prefix.abs().max() > 1e-2


def test_text_vector_is_the_first_pass_cls_state_or_the_mean_embedding(build, batch):
    assert torch.equal(build().text_vector(batch), build().encode_text(batch)[:, 0])
    module = build(cls_source="embeddings")
    table = module.text.model.embeddings.word_embeddings.weight
    for row in range(len(batch)):
        real = batch.input_ids[row][batch.attention_mask[row]]
        torch.testing.assert_close(module.text_vector(batch)[row], table[real].mean(0))
    assert not torch.allclose(encode(module, batch), encode(build(), batch), atol=1e-4)


def test_cls_source_decides_the_number_of_text_passes(build, batch):
    for source, passes in (("encoder", 2), ("embeddings", 1)):
        module, calls = build(cls_source=source), []
        module.text.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        module.encode(batch)
        assert len(calls) == passes


def test_without_correlation_views_are_not_scaled(build, batch):
    full, plain = build(), build(correlation=False)
    assert plain.correlation is None
    views = plain.view_vectors(batch)
    gated = plain.gates(views, batch.view_mask).unsqueeze(-1) * views
    expected = plain.encode_text(batch, plain.projections(gated, batch.view_mask))
    assert torch.equal(plain.encode(batch).states, expected)
    assert not torch.allclose(encode(full, batch), expected, atol=1e-3)


def test_without_gating_all_gates_are_1(build, batch):
    plain = build(gating=False)
    views = plain.view_vectors(batch)
    assert plain.gates is None
    assert (plain.gate_weights(views, batch.view_mask) == 1).all()
    correlated = plain.correlation(plain.text_vector(batch), views)
    prefix = plain.projections(
        correlated.expand(plain.text.num_layers, *views.shape), batch.view_mask
    )
    torch.testing.assert_close(plain.encode(batch).states, plain.encode_text(batch, prefix))
    assert not torch.allclose(encode(build(), batch), encode(plain, batch), atol=1e-3)


def test_without_crops_there_are_no_gates_and_all_weights_train(build, batch, data):
    module = build(schema=replace(data.schema, num_objects=0))
    picture_alone = replace(batch, pixels=batch.pixels[:, :1], view_mask=batch.view_mask[:, :1])
    assert module.gates is None
    training_loss(module, picture_alone).backward()
    assert all(
        p.grad.any() for name, p in module.named_parameters() if not name.endswith("key.bias")
    )


@pytest.mark.parametrize("arguments", [{"cls_source": "pooler"}, {"prompt_dim": 0}])
def test_invalid_arguments_raise(build, arguments):
    with pytest.raises(
        ValueError, match=r"prompt_dim is .*, cls_source '.*': .*encoder, embeddings"
    ):
        build(**arguments)


@torch.no_grad()
def test_initial_correlation_keeps_views_and_is_not_saturated():
    torch.manual_seed(0)
    correlation = Correlation(256)
    text, views = torch.randn(16, 256), 0.3 * torch.randn(16, VIEWS, 256)
    correlated = correlation(text, views)
    assert torch.nn.functional.cosine_similarity(correlated, views, dim=-1).min() > 0.95
    assert torch.tanh((text * correlation.match(views[:, 0])).sum(-1)).abs().max() < 0.9
    views[:, 0] = 0
    torch.testing.assert_close(correlation(text, views), views)


@torch.no_grad()
def test_without_views_states_are_those_of_the_text_encoder(build, batch):
    module = build()
    expected = module.encode_text(batch)
    without_views = batch_without_views(batch)
    real = batch.attention_mask
    torch.testing.assert_close(
        module.encode(without_views).states[real], expected[real], rtol=0, atol=1e-6
    )
    noisy = replace(without_views, pixels=random_pixels_like(batch.pixels))
    assert torch.equal(module.encode(noisy).states, module.encode(without_views).states)
    assert len(module(noisy)) == len(batch)


@torch.no_grad()
def test_masked_views_have_no_influence(build, batch):
    module = build()
    mask = batch.view_mask.clone()
    mask[0, 1], mask[1, 0] = False, False
    before = replace(batch, view_mask=mask)
    noise = torch.where(mask[..., None, None, None], batch.pixels, random_pixels_like(batch.pixels))
    assert torch.equal(
        module.encode(replace(before, pixels=noise)).states, module.encode(before).states
    )
    changed = (module.encode(before).states - module.encode(batch).states).abs().amax(dim=(1, 2))
    assert (changed[:2] > 1e-4).all()
    assert (changed[2:] < 1e-5).all()


@pytest.mark.parametrize("cls_source", ["encoder", "embeddings"])
def test_all_weights_train_and_the_backbone_at_the_text_rate(build, batch, cls_source):
    module = build(perturbed=False, cls_source=cls_source, text_lr=1e-3, fusion_lr=2e-3)
    assert not module.vision.frozen
    training_loss(module, batch).backward()
    assert all(p.grad is not None for p in module.parameters())
    assert parameters_without_gradient(module) == []
    rates = parameter_rates(module)
    assert {rates[p] for p in module.vision.parameters()} == {1e-3}
    assert {rates[p] for p in module.view_map.parameters()} == {2e-3}


def test_frozen_backbone_gets_no_gradient(build, batch):
    module = build(freeze_vision=True)
    training_loss(module, batch).backward()
    assert all(p.grad is None for p in module.vision.parameters())
    assert not any(part.training for part in module.vision.modules())


def test_text_vector_passes_gradients_to_the_text_encoder(build, batch):
    module = build()
    text, (views,) = module.text_vector(batch), (module.view_vectors(batch),)
    module.correlation(text, views).square().sum().backward()
    assert module.text.model.embeddings.word_embeddings.weight.grad.any()


def test_bfloat16_autocast_of_a_batch_of_one(build, data):
    module = build()
    single = make_batch(data, distinct_instances(data.instances["train"], 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = training_loss(module, single)
        states = module.encode(single).states
    loss.backward()
    assert loss.isfinite()
    assert states.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


def test_predicts_relations(demo_data, tiny_bert):
    data = demo_data("re", tiny_bert)
    module = build_module(DGHC, data.schema, tiny_bert, vision_backbone="test_vit", prompt_dim=10)
    batch = make_batch(data, data.instances["train"][:4])
    assert [len(prediction.relations) for prediction in module(batch)] == [1] * 4
    assert training_loss(module, batch).isfinite()


def test_supports_bioes_tags(demo_root, tiny_bert):
    data = build_data(demo_root, "ner", tiny_bert, tag_scheme="bioes")
    module = build_module(DGHC, data.schema, tiny_bert, vision_backbone="test_vit", prompt_dim=10)
    assert module.head.crf.num_tags == 1 + 4 * len(data.schema.labels)
    assert training_loss(module, make_batch(data, data.instances["train"][:4])).isfinite()
