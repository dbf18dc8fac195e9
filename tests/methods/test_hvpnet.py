"""HVPNet's switches. Its equations are tested in `tests/blocks`."""

from dataclasses import replace

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
    training_loss,
)

from mmie.blocks.reference_prefix import ReferencePrefix
from mmie.blocks.visual_prefix import PyramidPrefix
from mmie.methods import HVPNet, TextOnly

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

TINY = {"vision_backbone": "test_resnet"}


@pytest.fixture(params=["ner", "re"])
def data(request, demo_data, tiny_bert):
    return demo_data(request.param, tiny_bert)


@pytest.fixture
def batch(data):
    return make_batch(data, distinct_instances(data.instances["train"], 4))


@pytest.fixture
def build(data, tiny_bert):
    def build(method=HVPNet, schema=data.schema, **arguments):
        if method is HVPNet:
            arguments = {**TINY, **arguments}
        return build_module(method, schema, tiny_bert, **arguments)

    return build


def test_without_images_it_equals_text_only(build, batch):
    module = build(use_image=False)
    text_only = copy_shared_weights(build(TextOnly, seed=1), module)
    additional = parameter_names(module) - parameter_names(text_only)
    assert additional == {name for name in parameter_names(module) if name.startswith("vision.")}
    assert torch.equal(encode(module, batch), encode(text_only, batch))
    assert torch.equal(training_loss(module, batch), training_loss(text_only, batch))


def test_use_image_takes_precedence_over_the_variant(build, batch):
    module = build(use_image=False, variant="reference")
    assert module.visual_prefix is None
    assert module.position_shift == 0
    text_only = copy_shared_weights(build(TextOnly), module)
    assert torch.equal(encode(module, batch), encode(text_only, batch))


def test_without_readable_views_the_paper_variant_equals_text_only(build, batch):
    module, without_views = build(), batch_without_views(batch)
    expected = encode(copy_shared_weights(build(TextOnly), module), without_views)
    torch.testing.assert_close(encode(module, without_views), expected, rtol=0, atol=1e-6)


def test_variant_decides_prefix_and_position_shift(build, batch):
    paper, reference = build(), build(variant="reference")
    assert isinstance(paper.visual_prefix, PyramidPrefix)
    assert isinstance(reference.visual_prefix, ReferencePrefix)
    assert (paper.position_shift, reference.position_shift) == (0, 16)
    without_views = batch_without_views(batch)
    with torch.no_grad():
        shifted = reference.encode_text(without_views, position_shift=16)
        unshifted = reference.encode_text(without_views)
    torch.testing.assert_close(encode(reference, without_views), shifted, rtol=0, atol=1e-6)
    assert not torch.allclose(shifted, unshifted, atol=1e-3)


def test_prefix_has_four_positions_per_view_in_every_layer(build, batch):
    for variant in ("paper", "reference"):
        prefix = build(variant=variant).prefix(batch)
        assert prefix.keys.shape == prefix.values.shape == (2, len(batch), 4, 16, 16)


def test_fixed_mapping_has_no_gates_and_gives_each_layer_one_stage(build, batch):
    dynamic, fixed = perturb(build()), build(mapping="one_to_three")
    assert parameter_names(fixed) <= parameter_names(dynamic)
    removed = parameter_names(dynamic) - parameter_names(fixed)
    assert {name.rsplit(".", 2)[0] for name in removed} == {"visual_prefix.gates"}
    copy_shared_weights(fixed, dynamic)
    assert not torch.allclose(encode(fixed, batch), encode(dynamic, batch), atol=1e-5)
    # of two layers, the first has stage 2 and the second stage 4
    for stage in range(4):
        maps = dynamic.encode_images(batch)
        before = fixed.visual_prefix(maps, batch.view_mask).keys
        maps[stage] = maps[stage] + 1
        after = fixed.visual_prefix(maps, batch.view_mask).keys
        change = (after - before).abs().amax(dim=(1, 2, 3, 4))  # (layers,)
        assert (change > 0).tolist() == [stage == 1, stage == 3]


@pytest.mark.parametrize("scales", [(4,), (2, 3), [1, 2, 3, 4]])
def test_scales_decide_which_stages_are_used(build, batch, scales):
    module = perturb(build(scales=scales))
    widths = [layer.in_features for layer in module.visual_prefix.convolutions]
    assert widths == [module.vision.channels[scale - 1] for scale in scales]
    gate_widths = [gate.out_features for gate in module.visual_prefix.gates]
    assert gate_widths == ([len(scales)] * 2 if len(scales) > 1 else [])
    for stage in range(4):
        maps = module.encode_images(batch)
        before = module.visual_prefix(maps, batch.view_mask).keys
        maps[stage] = maps[stage] + 1
        after = module.visual_prefix(maps, batch.view_mask).keys
        assert torch.equal(after, before) == (stage + 1 not in scales)


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_activation_changes_the_states(build, batch, variant):
    leaky, selu = (
        perturb(build(activation=activation, variant=variant))
        for activation in ("leaky_relu", "selu")
    )
    assert parameter_names(leaky) == parameter_names(selu)
    assert not torch.equal(encode(leaky, batch), encode(selu, batch))


def test_crop_activation_is_that_of_crops_alone(build, batch):
    same, other = (
        perturb(build(variant="reference", activation="selu", crop_activation=activation))
        for activation in (None, "leaky_relu")
    )
    assert parameter_names(same) == parameter_names(other)
    assert not torch.equal(encode(same, batch), encode(other, batch))
    view_mask = batch.view_mask.clone()
    view_mask[:, 1:] = False
    without_crops = replace(batch, view_mask=view_mask)
    assert torch.equal(encode(same, without_crops), encode(other, without_crops))


def test_no_objects_equals_masked_crops(build, data, batch):
    module = build(schema=replace(data.schema, num_objects=0))
    picture_alone = replace(batch, pixels=batch.pixels[:, :1], view_mask=batch.view_mask[:, :1])
    assert module.prefix(picture_alone).keys.shape[3] == 4
    view_mask = batch.view_mask.clone()
    view_mask[:, 1:] = False
    with_crops = copy_shared_weights(build(), module)
    expected = encode(with_crops, replace(batch, view_mask=view_mask))
    torch.testing.assert_close(encode(module, picture_alone), expected, rtol=0, atol=1e-5)


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
def test_invalid_arguments_raise(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_position_shift_beyond_the_encoders_positions_raises(build, data):
    build(schema=replace(data.schema, max_tokens=112), variant="reference")
    build(schema=replace(data.schema, max_tokens=113))
    with pytest.raises(
        ValueError,
        match="is 113 and the text starts at position 16: lower data",
    ):
        build(schema=replace(data.schema, max_tokens=113), variant="reference")
