"""RAP's switches."""

from dataclasses import replace
from inspect import signature

import pytest
import torch
from helpers.methods import (
    batch_without_views,
    build_module,
    copy_shared_weights,
    distinct_instances,
    encode,
    make_batch,
    parameter_names,
    perturb,
    train,
    training_loss,
)

from mmie.blocks.dynamic_fusion import CFU, FSRU, RAU
from mmie.methods import RAP

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


@pytest.fixture(params=["ner", "re"])
def data(request, demo_data, tiny_bert):
    return demo_data(request.param, tiny_bert)


@pytest.fixture
def batch(data):
    return make_batch(data, distinct_instances(data.instances["train"], 4))


@pytest.fixture
def build(data, tiny_bert):
    def build(**arguments):
        small = {"vision_backbone": "test_resnet", "num_fusion_layers": 2, "prompt_length": 4}
        return build_module(RAP, data.schema, tiny_bert, **{**small, **arguments})

    return build


def removed_parts(full, reduced):
    """Return the parts whose parameters a switch removes, and assert that it adds none."""
    assert parameter_names(reduced) <= parameter_names(full)
    return {name.split(".")[0] for name in parameter_names(full) - parameter_names(reduced)}


def fuse(module, batch):
    """Return the fused states and the routing of a batch."""
    text, views = module.features(module.encode_text(batch), batch)
    gate = module.gate(text, views, batch)
    return module.fusion(text, batch.attention_mask, views, module.local_mask(batch), gate)


def test_defaults_are_the_papers():
    defaults = {
        name: parameter.default for name, parameter in signature(RAP.__init__).parameters.items()
    }
    assert defaults["num_fusion_layers"] == 3
    assert defaults["path_weight"] == 1.5
    assert defaults["path_reduction"] == "sum"
    assert defaults["local_views"] == "objects"
    assert defaults["vision_backbone"] == "resnet101"
    assert defaults["units"] == ("rau", "fsru", "cfu")


@pytest.mark.parametrize("layers", [1, 3])
def test_num_fusion_layers(build, batch, layers):
    module = build(num_fusion_layers=layers)
    assert len(module.fusion.layers) == layers
    _, routing = fuse(module, batch)
    assert routing.shape == (4, 9 * (layers - 1) + 3)


def test_prompt_length(build, batch):
    short, long = (build(prompt_length=length) for length in (4, 7))
    assert parameter_names(short) == parameter_names(long)
    fused = torch.randn(*batch.input_ids.shape, 64)
    for module, length in ((short, 4), (long, 7)):
        assert module.prompt(fused, batch.attention_mask).keys.shape == (2, 4, 4, length, 16)


@pytest.mark.parametrize("left_out", ["rau", "fsru", "cfu"])
def test_units_can_be_left_out(build, batch, left_out):
    classes = {"rau": RAU, "fsru": FSRU, "cfu": CFU}
    units = [unit for unit in classes if unit != left_out]
    module = perturb(build(units=units))
    for layer in module.fusion.layers:
        assert [type(unit) for unit in layer] == [classes[unit] for unit in units]
    training_loss(module, batch).backward()
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)
    states_without_views = encode(module, batch_without_views(batch))
    uses_views = not torch.equal(encode(module, batch), states_without_views)
    assert uses_views == (left_out != "cfu")


def test_without_cfu_no_part_reads_views(build):
    module = build(units=("rau", "fsru"))
    for name in parameter_names(module):
        assert not name.startswith(("view_map", "relevance"))


def test_without_relevance_the_gate_is_1(build, batch):
    full, module = perturb(build()), build(relevance=False)
    assert removed_parts(full, module) == {"relevance"}
    copy_shared_weights(module, full)
    text, views = module.features(module.encode_text(batch), batch)
    assert torch.equal(module.gate(text, views, batch), torch.ones(4))
    gate = full.gate(text, views, batch)
    assert gate.shape == (4,)
    assert (gate.abs() < 1).all()
    assert len(set(gate.tolist())) == 4
    assert not torch.equal(encode(module, batch), encode(full, batch))


def test_normalize_paths(build, batch):
    plain, normalised = (perturb(build(normalize_paths=value)) for value in (False, True))
    assert parameter_names(plain) == parameter_names(normalised)
    weights = torch.rand(2, 3, 3) + 0.1  # (batch, units, targets)
    assert torch.equal(plain.fusion.normalize(weights), weights)
    sums = normalised.fusion.normalize(weights).sum(1)
    torch.testing.assert_close(sums, torch.ones(2, 3))
    assert not torch.equal(encode(plain, batch), encode(normalised, batch))


def test_path_weight_scales_the_router_loss_alone(build, batch):
    none, one, two = (build(path_weight=weight).train(False) for weight in (0.0, 1.0, 2.0))
    assert none.encode(batch).losses == {}
    losses = [module.encode(batch).losses["router"] for module in (one, two)]
    assert losses[0] > 0
    torch.testing.assert_close(2 * losses[0], losses[1])
    assert torch.equal(encode(none, batch), encode(two, batch))
    assert parameter_names(none) == parameter_names(two)


def test_without_prompting_the_fused_states_are_classified(build, batch):
    full, module = perturb(build()), build(prompting=False)
    assert removed_parts(full, module) == {"length_map", "prompt_in", "prompt_out"}
    copy_shared_weights(module, full)
    fused, _ = fuse(module, batch)
    torch.testing.assert_close(encode(module, batch), fused)
    torch.testing.assert_close(module.encode(batch).losses, full.encode(batch).losses)
    training_loss(module, batch).backward()
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    "arguments",
    [
        {"units": ()},
        {"units": ("rau", "rau")},
        {"num_fusion_layers": 0},
        {"prompt_length": 0},
        {"relevance_size": 0},
        {"router_size": 0},
    ],
)
def test_invalid_arguments_raise(build, arguments):
    with pytest.raises(ValueError, match="must be one or more, each once"):
        build(**arguments)


def test_local_views(build, batch):
    objects, everything = (perturb(build(local_views=value)) for value in ("objects", "all"))
    assert parameter_names(objects) == parameter_names(everything)
    assert not torch.equal(encode(objects, batch), encode(everything, batch))
    assert batch.view_mask[0, 1]
    pixels = batch.pixels.clone()
    pixels[0, 0] = 255 - pixels[0, 0]
    other = replace(batch, pixels=pixels)
    for value, uses_picture in (("objects", False), ("all", True)):
        module = perturb(build(local_views=value, relevance=False))
        is_same = torch.equal(encode(module, batch), encode(module, other))
        assert is_same != uses_picture


def test_gate_norm(build, batch):
    normed, plain = (perturb(build(gate_norm=value)) for value in ("batch", "none"))
    assert parameter_names(plain) ^ parameter_names(normed) == {
        "relevance.score.bias",
        "relevance.norm.scale",
        "relevance.norm.shift",
    }
    normed.train()
    text, views = normed.features(normed.encode_text(batch), batch)
    gate = normed.gate(text, views, batch)
    norm = normed.relevance.norm
    betas = torch.atanh(gate).double()
    assert betas.mean().item() == pytest.approx(norm.shift.item(), abs=1e-4)
    assert betas.std(correction=0).item() == pytest.approx(norm.scale.abs().item(), rel=1e-2)


def test_cosine_norm(build, batch):
    words, views = (perturb(build(cosine_norm=value)) for value in ("words", "views"))
    assert parameter_names(words) == parameter_names(views)
    assert not torch.equal(encode(words, batch), encode(views, batch))


def test_sharpness(build, batch):
    flat, sharp = (perturb(build(sharpness=value)) for value in (0.0, 9.0))
    assert not torch.equal(encode(flat, batch), encode(sharp, batch))


def test_path_reduction(build, batch):
    losses = {}
    for reduction in ("sum", "mean"):
        module = build(path_reduction=reduction)
        losses[reduction] = module.encode(batch).losses["router"]
    assert losses["mean"] > 0
    torch.testing.assert_close(losses["sum"], 12 * losses["mean"])  # 4 posts have 12 pairs


def test_widths_are_arguments(build):
    module = build(relevance_size=5, router_size=7)
    assert module.relevance.compare_global.out_features == 5
    assert module.relevance.rounds[1].update.weight.shape == (5, 5)
    assert module.fusion.routers[0][0][0].out_features == 7


def other_pictures(batch):
    """Return a copy of a batch in which every post has the pictures of the one before."""
    mask, pixels = batch.view_mask.roll(1, 0), batch.pixels.roll(1, 0)
    return replace(batch, pixels=pixels, view_mask=mask, view_index=None)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["re"], indirect=True)
def test_the_gate_of_a_trained_model_depends_on_the_picture(build, data):
    module = build(path_reduction="mean", dropout=0.0)
    module.learning_rates = {"text": 1e-3, "fusion": 3e-3, "head": 1e-2}
    train(module, make_batch(data, distinct_instances(data.instances["train"], 16)), steps=40)
    others = [*data.instances["valid"], *data.instances["test"], *data.instances["train"]]
    batch = make_batch(data, distinct_instances(others, 64))
    betas, predictions = [], []
    with torch.no_grad():
        for pictures in (batch, other_pictures(batch)):
            text, views = module.features(module.encode_text(pictures), pictures)
            betas.append(module.beta(text, views, pictures))
        predictions.append(module(batch))
        module.relevance = None  # "-MRR"
        predictions.append(module(batch))
    right, shuffled = betas
    assert right.tanh().std() > 0.02
    assert (right - shuffled).abs().mean() > 0.02
    assert right.tanh().abs().median() < 0.95
    assert predictions[0] != predictions[1]
