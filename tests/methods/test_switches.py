"""Every constructor switch changes what it should, and nothing else."""

from dataclasses import replace
from inspect import signature

import pytest
import torch
from helpers.methods import (
    batch_without_views,
    build_module,
    copy_state,
    distinct_instances,
    encode,
    make_batch,
    perturb,
    train,
    training_loss,
)
from torch import nn

from mmie.blocks.visual_prefix import PyramidPrefix, ReferencePrefix
from mmie.methods import RAP, HVPNet, RSRNeT, TextOnly
from mmie.methods.rap import CFU, FSRU, RAU

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

TINY = {"vision_backbone": "test_resnet"}
SMALL_RAP = {**TINY, "num_fusion_layers": 2, "prompt_length": 4}


@pytest.fixture(params=["ner", "re"])
def data(request, demo_data, tiny_bert):
    return demo_data(request.param, tiny_bert)


@pytest.fixture
def relations(demo_data, tiny_bert):
    return demo_data("re", tiny_bert)


@pytest.fixture
def batch(data):
    return make_batch(data, distinct_instances(data.instances["train"], 4))


@pytest.fixture
def build(data, tiny_bert):
    def build(method, **arguments):
        return build_module(method, arguments.pop("schema", data.schema), tiny_bert, **arguments)

    return build


def names(module):
    return {name for name, _ in module.named_parameters()}


def take_over(module, source):
    """Give ``module`` the parameters and buffers that ``source`` has under the same name and shape."""
    theirs = source.state_dict()
    ours = {
        name: theirs[name] if name in theirs and theirs[name].shape == value.shape else value
        for name, value in module.state_dict().items()
    }
    module.load_state_dict(ours)
    return module


def prefixes_gone(full, switched):
    """First two parts of the names that a switch takes away; nothing may be added."""
    assert names(switched) <= names(full)
    return {".".join(name.split(".")[:2]) for name in names(full) - names(switched)}


class TestHVPNet:
    def test_use_image_false_is_text_only_exactly(self, build, batch):
        module = build(HVPNet, use_image=False, **TINY)
        text_only = take_over(build(TextOnly, seed=1), module)
        assert names(module) - names(text_only) == {
            name for name in names(module) if name.startswith("vision.")
        }
        assert torch.equal(encode(module, batch), encode(text_only, batch))
        assert torch.equal(training_loss(module, batch), training_loss(text_only, batch))

    def test_use_image_false_wins_over_the_variant(self, build, batch):
        module = build(HVPNet, use_image=False, variant="reference", **TINY)
        assert module.visual_prefix is None
        assert module.position_shift == 0
        assert torch.equal(encode(module, batch), encode(take_over(build(TextOnly), module), batch))

    def test_without_pictures_the_paper_variant_is_text_only(self, build, batch):
        module, bare = build(HVPNet, **TINY), batch_without_views(batch)
        states = encode(take_over(build(TextOnly), module), bare)
        torch.testing.assert_close(encode(module, bare), states, rtol=0, atol=1e-6)

    def test_variant(self, build, batch):
        paper, reference = build(HVPNet, **TINY), build(HVPNet, variant="reference", **TINY)
        assert isinstance(paper.visual_prefix, PyramidPrefix)
        assert isinstance(reference.visual_prefix, ReferencePrefix)
        assert (paper.position_shift, reference.position_shift) == (0, 16)
        bare = batch_without_views(batch)
        with torch.no_grad():
            shifted = reference.encode_text(bare, position_shift=16)
        torch.testing.assert_close(encode(reference, bare), shifted, rtol=0, atol=1e-6)
        assert not torch.allclose(shifted, reference.encode_text(bare), atol=1e-3)

    def test_the_prefix_has_four_positions_a_view_in_every_layer(self, build, batch):
        for variant in ("paper", "reference"):
            prefix = build(HVPNet, variant=variant, **TINY).prefix(batch)
            assert prefix.keys.shape == prefix.values.shape == (2, len(batch), 4, 16, 16)

    def test_mapping(self, build, batch):
        dynamic, fixed = (
            perturb(build(HVPNet, **TINY)),
            build(HVPNet, mapping="one_to_three", **TINY),
        )
        assert prefixes_gone(dynamic, fixed) == {"visual_prefix.gates"}
        take_over(fixed, dynamic)
        assert not torch.allclose(encode(fixed, batch), encode(dynamic, batch), atol=1e-5)
        for stage in range(4):  # of two layers, the first reads stage 2 and the second stage 4
            maps = dynamic.encode_images(batch)
            before = fixed.visual_prefix(maps, batch.view_mask).keys
            maps[stage] = maps[stage] + 1
            moved = (
                (fixed.visual_prefix(maps, batch.view_mask).keys - before)
                .abs()
                .amax(dim=(1, 2, 3, 4))
            )
            assert (moved > 0).tolist() == [stage == 1, stage == 3]

    @pytest.mark.parametrize("scales", [(4,), (2, 3), [1, 2, 3, 4]])
    def test_scales(self, build, batch, scales):
        module = perturb(build(HVPNet, scales=scales, **TINY))
        widths = [layer.in_features for layer in module.visual_prefix.convolutions]
        assert widths == [module.vision.channels[scale - 1] for scale in scales]
        assert [gate.out_features for gate in module.visual_prefix.gates] == (
            [len(scales)] * 2 if len(scales) > 1 else []
        )
        for stage in range(4):
            maps = module.encode_images(batch)
            before = module.visual_prefix(maps, batch.view_mask).keys
            maps[stage] = maps[stage] + 1
            assert torch.equal(module.visual_prefix(maps, batch.view_mask).keys, before) == (
                stage + 1 not in scales
            )

    @pytest.mark.parametrize("variant", ["paper", "reference"])
    def test_activation(self, build, batch, variant):
        leaky, selu = (
            perturb(build(HVPNet, activation=a, variant=variant, **TINY))
            for a in ("leaky_relu", "selu")
        )
        assert names(leaky) == names(selu)
        assert not torch.equal(encode(leaky, batch), encode(selu, batch))

    def test_crop_activation_is_of_the_crops_alone(self, build, batch):
        arguments = {"variant": "reference", "activation": "selu", **TINY}
        alike, other = (
            perturb(build(HVPNet, crop_activation=a, **arguments)) for a in (None, "leaky_relu")
        )
        assert names(alike) == names(other)
        assert not torch.equal(encode(alike, batch), encode(other, batch))
        no_crops = batch.view_mask.clone()
        no_crops[:, 1:] = False
        batch = replace(batch, view_mask=no_crops)
        assert torch.equal(encode(alike, batch), encode(other, batch))

    def test_num_objects_0_leaves_the_global_picture(self, build, data, batch):
        module = build(HVPNet, schema=replace(data.schema, num_objects=0), **TINY)
        one = replace(batch, pixels=batch.pixels[:, :1], view_mask=batch.view_mask[:, :1])
        assert module.prefix(one).keys.shape[3] == 4
        crops_masked = batch.view_mask.clone()
        crops_masked[:, 1:] = False
        other = take_over(build(HVPNet, **TINY), module)
        states = encode(other, replace(batch, view_mask=crops_masked))
        torch.testing.assert_close(encode(module, one), states, rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"variant": "reference", "mapping": "one_to_three"}, "use variant paper"),
            ({"variant": "reference", "scales": (4,)}, "use variant paper"),
            ({"crop_activation": "selu"}, "crop_activation is a switch of variant reference"),
            ({"scales": ()}, "name different stages from 1 to 4"),
            ({"scales": (0, 1)}, "name different stages from 1 to 4"),
            ({"scales": (5,)}, "name different stages from 1 to 4"),
            ({"scales": (1, 1)}, "name different stages from 1 to 4"),
        ],
    )
    def test_wrong_values(self, build, arguments, message):
        with pytest.raises(ValueError, match=message):
            build(HVPNet, **TINY, **arguments)

    def test_a_shift_that_the_encoder_has_no_positions_for(self, build, data):
        build(HVPNet, schema=replace(data.schema, max_tokens=112), variant="reference", **TINY)
        build(HVPNet, schema=replace(data.schema, max_tokens=113), **TINY)
        with pytest.raises(
            ValueError, match=r"data\.max_tokens is 113 and starts 16 positions late: lower it by 1"
        ):
            build(HVPNet, schema=replace(data.schema, max_tokens=113), variant="reference", **TINY)


class TestRSRNeT:
    def test_its_defaults_are_the_papers(self):
        defaults = {
            name: parameter.default
            for name, parameter in signature(RSRNeT.__init__).parameters.items()
        }
        assert defaults["text_encoder"] == "xlm-roberta-base"
        assert defaults["vision_backbone"] == "resnest50d"
        assert defaults["pooling"] == "cls"
        assert (defaults["variant"], defaults["mapping"], defaults["scales"]) == (
            "paper",
            "dynamic",
            (1, 2, 3, 4),
        )

    @pytest.mark.parametrize(
        ("arguments", "theirs"),
        [
            ({}, {}),
            ({"variant": "reference"}, {"crop_activation": "leaky_relu"}),
            ({"mapping": "one_to_three"}, {}),
            ({"scales": [4]}, {}),
            ({"use_image": False}, {}),
        ],
    )
    def test_it_is_hvpnet_with_selu_gates(self, build, batch, arguments, theirs):
        ours = perturb(build(RSRNeT, **TINY, **arguments))
        other = perturb(
            build(HVPNet, activation="selu", pooling="cls", **TINY, **arguments, **theirs)
        )
        assert names(ours) == names(other)
        assert torch.equal(encode(ours, batch), encode(other, batch))


class TestRAP:
    @pytest.mark.parametrize("layers", [1, 3])
    def test_num_fusion_layers(self, build, batch, layers):
        module = build(RAP, **{**SMALL_RAP, "num_fusion_layers": layers})
        assert len(module.fusion.layers) == layers
        first = module.encode_text(batch)
        text, views = module.features(first, batch)
        gate = module.gate(text, views, batch)
        assert module.fusion(text, batch.attention_mask, views, batch.view_mask, gate)[1].shape == (
            4,
            9 * (layers - 1) + 3,
        )

    def test_prompt_length(self, build, batch):
        short, long = (build(RAP, **{**SMALL_RAP, "prompt_length": length}) for length in (4, 7))
        assert names(short) == names(long)
        fused = torch.randn(*batch.input_ids.shape, 64)
        for module, length in ((short, 4), (long, 7)):
            assert module.prompt(fused, batch.attention_mask).keys.shape == (2, 4, 4, length, 16)

    @pytest.mark.parametrize("left_out", ["rau", "fsru", "cfu"])
    def test_units_minus_one(self, build, batch, left_out):
        kinds = {"rau": RAU, "fsru": FSRU, "cfu": CFU}
        units = [unit for unit in kinds if unit != left_out]
        module = perturb(build(RAP, units=units, **SMALL_RAP))
        for layer in module.fusion.layers:
            assert [type(unit) for unit in layer] == [kinds[unit] for unit in units]
        training_loss(module, batch).backward()
        assert all(p.grad is not None for p in module.parameters() if p.requires_grad)
        sees = not torch.equal(encode(module, batch), encode(module, batch_without_views(batch)))
        assert sees == (left_out != "cfu")

    def test_without_cfu_nothing_that_reads_the_picture_is_left(self, build):
        module = build(RAP, units=("rau", "fsru"), **SMALL_RAP)
        assert not any(name.startswith(("view_map", "relevance")) for name in names(module))

    def test_relevance(self, build, batch):
        full, module = perturb(build(RAP, **SMALL_RAP)), build(RAP, relevance=False, **SMALL_RAP)
        assert {name.split(".")[0] for name in prefixes_gone(full, module)} == {"relevance"}
        take_over(module, full)
        text, views = module.features(module.encode_text(batch), batch)
        assert torch.equal(module.gate(text, views, batch), torch.ones(4))
        gate = full.gate(text, views, batch)
        assert gate.shape == (4,)
        assert (gate.abs() < 1).all()
        assert len(set(gate.tolist())) == 4
        assert not torch.equal(encode(module, batch), encode(full, batch))

    def test_normalize_paths(self, build, batch):
        plain, shares = (
            perturb(build(RAP, normalize_paths=on, **SMALL_RAP)) for on in (False, True)
        )
        assert names(plain) == names(shares)
        weights = torch.rand(2, 3, 3) + 0.1
        assert torch.equal(plain.fusion.normalize(weights), weights)
        torch.testing.assert_close(shares.fusion.normalize(weights).sum(1), torch.ones(2, 3))
        assert not torch.equal(encode(plain, batch), encode(shares, batch))

    def test_path_weight_scales_the_router_loss_and_nothing_else(self, build, batch):
        none, one, two = (
            build(RAP, path_weight=weight, **SMALL_RAP).train(False) for weight in (0.0, 1.0, 2.0)
        )
        assert none.encode(batch).losses == {}
        losses = [module.encode(batch).losses["router"] for module in (one, two)]
        assert losses[0] > 0
        torch.testing.assert_close(2 * losses[0], losses[1])
        assert torch.equal(encode(none, batch), encode(two, batch))
        assert names(none) == names(two)

    def test_prompting(self, build, batch):
        full, module = perturb(build(RAP, **SMALL_RAP)), build(RAP, prompting=False, **SMALL_RAP)
        gone = {name.split(".")[0] for name in prefixes_gone(full, module)}
        assert gone == {"length_map", "prompt_in", "prompt_out"}
        take_over(module, full)
        text, views = module.features(module.encode_text(batch), batch)
        gate = module.gate(text, views, batch)
        fused, _ = module.fusion(text, batch.attention_mask, views, batch.view_mask, gate)
        torch.testing.assert_close(encode(module, batch), fused)
        torch.testing.assert_close(module.encode(batch).losses, full.encode(batch).losses)
        training_loss(module, batch).backward()
        assert all(p.grad is not None for p in module.parameters() if p.requires_grad)

    @pytest.mark.parametrize(
        "arguments",
        [{"units": ()}, {"units": ("rau", "rau")}, {"num_fusion_layers": 0}, {"prompt_length": 0}],
    )
    def test_wrong_values(self, build, arguments):
        with pytest.raises(ValueError, match="must be one or more, each once"):
            build(RAP, **{**SMALL_RAP, **arguments})


class TestVision:
    @pytest.mark.parametrize(("method", "arguments"), [(HVPNet, TINY), (RAP, SMALL_RAP)])
    def test_a_backbone_that_is_not_frozen_trains_at_the_text_rate(
        self, build, batch, method, arguments
    ):
        module = build(
            method, freeze_vision=False, text_lr=1e-3, fusion_lr=2e-3, head_lr=3e-3, **arguments
        )
        frozen = build(method, **arguments)
        assert names(module) == names(frozen)
        for name, parameter in module.vision.named_parameters():
            if not parameter.any() and name.endswith("weight"):
                nn.init.ones_(parameter)  # timm starts residual branches shut
        training_loss(module, batch).backward()
        gradients = {name: p.grad for name, p in module.vision.named_parameters()}
        assert [
            name for name, gradient in gradients.items() if gradient is None or not gradient.any()
        ] == []
        assert module.vision.model.training
        rates = {p: group["lr"] for group in module.parameter_groups() for p in group["params"]}
        assert {rates[p] for p in module.vision.parameters()} == {1e-3}
        before = copy_state(module.vision)
        train(module, batch, 1)
        moved = {
            name
            for name, value in copy_state(module.vision).items()
            if not torch.equal(value, before[name])
        }
        assert moved >= {name for name, _ in module.vision.named_parameters()}
        assert any(name.endswith("running_mean") for name in moved)
        assert not moved & {"mean", "std"}

    def test_a_vision_transformers_positions_do_not_decay(self, build):
        module = build(
            RAP,
            **{**SMALL_RAP, "vision_backbone": "test_vit"},
            freeze_vision=False,
            weight_decay=0.1,
        )
        decay = {
            p: group["weight_decay"] for group in module.parameter_groups() for p in group["params"]
        }
        model = module.vision.model
        assert decay[model.pos_embed] == decay[model.cls_token] == 0
        assert decay[model.blocks[0].attn.qkv.weight] == 0.1


class TestShared:
    def test_pooling(self, relations, tiny_bert):
        batch = make_batch(relations, relations.instances["train"][:4])
        for pooling, width in (("cls", 64), ("entities", 128)):
            module = build_module(TextOnly, relations.schema, tiny_bert, pooling=pooling)
            assert module.head.classifier.in_features == width
            states = encode(module, batch)
            logits = module.head.logits(states, batch)
            for row in range(4):
                head, tail = batch.markers[row].tolist()
                for place in range(states.shape[1]):
                    other = states.clone()
                    other[row, place] += 1
                    read = place in ({0} if pooling == "cls" else {head, tail})
                    assert torch.equal(module.head.logits(other, batch), logits) != read

    def test_dropout_is_the_heads(self, build, batch):
        for share in (0.0, 0.6):
            module = build(TextOnly, dropout=share, freeze_text=True)
            losses = {training_loss(module, batch, seed).item() for seed in range(3)}
            assert len(losses) == (1 if share == 0 else 3)

    def test_learning_rates_and_decay_go_to_their_groups(self, build):
        module = build(RAP, text_lr=1.0, fusion_lr=2.0, head_lr=3.0, weight_decay=0.5, **SMALL_RAP)
        groups = {
            group["name"]: (group["lr"], group["weight_decay"])
            for group in module.parameter_groups()
        }
        assert groups == {
            f"{name}{kind}": (rate, decay)
            for name, rate in (("text", 1.0), ("fusion", 2.0), ("head", 3.0))
            for kind, decay in (("", 0.5), ("_no_decay", 0.0))
        }

    def test_defaults_are_the_papers(self):
        defaults = {
            name: parameter.default
            for name, parameter in signature(TextOnly.__init__).parameters.items()
        }
        assert (defaults["weight_decay"], defaults["warmup_ratio"], defaults["text_lr"]) == (
            0.01,
            0.1,
            3e-5,
        )
        rap = {
            name: parameter.default
            for name, parameter in signature(RAP.__init__).parameters.items()
        }
        assert (rap["num_fusion_layers"], rap["prompt_length"], rap["path_weight"]) == (3, 16, 1.5)
        assert (rap["vision_backbone"], rap["units"]) == ("resnet101", ("rau", "fsru", "cfu"))

    def test_freeze_text_leaves_text_out_of_the_optimiser(self, build):
        free, frozen = build(TextOnly), build(TextOnly, freeze_text=True)
        assert names(free) == names(frozen)
        assert {group["name"] for group in frozen.parameter_groups()} == {"head", "head_no_decay"}
        assert {group["name"].split("_")[0] for group in free.parameter_groups()} == {
            "text",
            "head",
        }
