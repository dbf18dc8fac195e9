"""DGHC's switches, masks and gradients. `test_dghc_equations` checks its equations."""

import inspect
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

from mmie.blocks.vision import VisualBackbone
from mmie.methods.dghc import DGHC, Correlation
from mmie.methods.loading import load_method

pytestmark = pytest.mark.filterwarnings(
    "ignore:You are trying to `self.log", "ignore:.*in eval mode"
)

VIEWS = 4


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


def test_linear_projection_is_left_out_where_widths_agree(build, batch):
    module = build()
    assert module.vision.channels[-1] == module.text.hidden_size
    assert list(module.view_map.parameters()) == []
    (pooled,) = module.encode_images(batch)
    assert torch.equal(module.view_vectors(batch), pooled)
    wide = build(vision_backbone="test_resnet")
    assert wide.view_map.weight.shape == (wide.text.hidden_size, wide.vision.channels[-1])


@pytest.mark.parametrize("gating", ["uniform", "ones"])
def test_other_gatings_have_no_weights_and_change_the_states(build, batch, gating):
    plain = build(gating=gating)
    assert plain.gates is None
    vectors = plain.view_vectors(batch)
    views = plain.correlation(plain.text_vector(batch), vectors, batch.view_mask)
    gates = plain.gate_weights(views, batch.view_mask)  # (layers, batch, views)
    prefix = plain.projections(gates.unsqueeze(-1) * views, batch.view_mask)
    torch.testing.assert_close(plain.encode(batch).states, plain.encode_text(batch, prefix))
    assert not torch.allclose(encode(build(), batch), encode(plain, batch), atol=1e-3)


def test_gatings_of_0_1_stand_for_their_successors(build, batch):
    for old, new in ((True, "softmax"), (False, "ones")):
        assert torch.equal(encode(build(gating=old), batch), encode(build(gating=new), batch))


def test_checkpoints_of_0_1_have_the_mlp_projection(build, batch, tmp_path):
    module = build(view_projection="mlp")
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["mmie"]["init_args"].pop("view_projection") == "mlp"
    torch.save(checkpoint, tmp_path / "old.ckpt")
    loaded = load_method(tmp_path / "old.ckpt")
    assert torch.equal(encode(loaded, batch), encode(module, batch))


def test_without_crops_there_are_no_gates_and_all_weights_train(build, batch, data):
    module = build(schema=replace(data.schema, num_objects=0))
    picture_alone = replace(batch, pixels=batch.pixels[:, :1], view_mask=batch.view_mask[:, :1])
    assert module.gates is None
    training_loss(module, picture_alone).backward()
    assert all(
        p.grad.any() for name, p in module.named_parameters() if not name.endswith("key.bias")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cls_source": "pooler"}, "cls_source is 'pooler': expected one of encoder, embeddings"),
        ({"gating": "none"}, "gating is 'none': expected one of softmax, uniform, ones"),
        ({"view_projection": "no"}, "view_projection is 'no': expected one of linear, mlp"),
        ({"prompt_dim": 0}, "prompt_dim is 0: expected at least 1"),
    ],
)
def test_invalid_arguments_raise(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


@torch.no_grad()
def test_initial_correlation_keeps_views_and_is_not_saturated():
    torch.manual_seed(0)
    correlation = Correlation(256)
    text, views = torch.randn(16, 256), 0.3 * torch.randn(16, VIEWS, 256)
    mask = torch.ones(16, VIEWS, dtype=torch.bool)
    correlated = correlation(text, views, mask)
    assert torch.nn.functional.cosine_similarity(correlated, views, dim=-1).min() > 0.95
    assert torch.tanh((text * correlation.match(views[:, 0])).sum(-1)).abs().max() < 0.9
    views[:, 0] = 0
    torch.testing.assert_close(correlation(text, views, mask), views)


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
    module = build(
        perturbed=False,
        cls_source=cls_source,
        view_projection="mlp",
        text_lr=1e-3,
        fusion_lr=2e-3,
    )
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
    module.correlation(text, views, batch.view_mask).square().sum().backward()
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
