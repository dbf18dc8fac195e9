"""Specifications of cacheable features, and features attached to a batch."""

import pickle
from dataclasses import replace

import pytest
import torch

from mmie.blocks.features import (
    FeatureSpec,
    attach_features,
    backbone_feature_spec,
    cached_or_computed_features,
    text_feature_spec,
)
from mmie.blocks.text_encoder import TextEncoder
from mmie.blocks.vision import VisualBackbone
from mmie.types import Batch

VIEW_MASK = torch.tensor([[True, False, True], [False, False, False], [True, True, False]])
BERT = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "vocab_size": 30,
}


def make_batch(pixels=None):
    """Make a batch of three posts with three views each."""
    ids = torch.zeros(3, 2, dtype=torch.long)
    return Batch(
        ids=("a", "b", "c"),
        counted=torch.ones(3, dtype=torch.bool),
        index=torch.arange(3),
        input_ids=ids,
        attention_mask=torch.ones_like(ids, dtype=torch.bool),
        token_type_ids=ids,
        token_words=ids,
        word_starts=ids,
        word_mask=torch.ones_like(ids, dtype=torch.bool),
        characters=ids.unsqueeze(-1),
        view_mask=VIEW_MASK,
        pixels=pixels,
    )


def make_spec(source, name="rows"):
    return FeatureSpec(name, source, {"width": 2}, lambda rows: rows)


def build_backbone():
    torch.manual_seed(0)
    return VisualBackbone("test_resnet", False, "stages", image_size=64, pool_to=2)


def make_pixels():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (3, 3, 3, 64, 64), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("source", "is_visual"),
    [("views", True), ("picture", True), ("text", False), ("tokens", False)],
)
def test_specification_tells_visual_sources_from_textual_ones(source, is_visual):
    assert make_spec(source).is_visual == is_visual


def test_rows_of_views_are_spread_over_the_readable_views():
    rows = torch.arange(1.0, 9.0).view(4, 2)
    batch = attach_features(make_batch(), [make_spec("views")], lambda spec: rows)
    features = batch.features["rows"]
    assert features.shape == (3, 3, 2)
    assert torch.equal(features[VIEW_MASK], rows)
    assert not features[~VIEW_MASK].any()


def test_rows_of_pictures_are_spread_over_the_posts_with_a_picture():
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    batch = attach_features(make_batch(), [make_spec("picture")], lambda spec: rows)
    assert batch.features["rows"].tolist() == [[1, 2], [0, 0], [3, 4]]


@pytest.mark.parametrize("source", ["text", "tokens"])
def test_rows_of_texts_are_attached_unchanged(source):
    rows = torch.randn(3, 2)
    batch = attach_features(make_batch(), [make_spec(source)], lambda spec: rows)
    assert batch.features["rows"] is rows


def test_features_without_rows_are_left_out_and_others_are_kept():
    batch = make_batch()
    batch.features["other"] = torch.ones(3, 1)
    specs = [make_spec("text", "missing"), make_spec("text", "rows")]
    rows = {"rows": torch.zeros(3, 2)}
    attached = attach_features(batch, specs, lambda spec: rows.get(spec.name))
    assert set(attached.features) == {"other", "rows"}
    assert set(batch.features) == {"other"}


def test_copy_without_compute_can_be_pickled_and_cannot_compute():
    spec = pickle.loads(pickle.dumps(make_spec("views").without_compute()))
    assert (spec.name, spec.source, spec.identity) == ("rows", "views", {"width": 2})
    with pytest.raises(RuntimeError, match="cannot compute"):
        spec.compute(torch.zeros(1))


def test_cached_features_of_a_backbone_equal_computed_ones():
    backbone, pixels = build_backbone(), make_pixels()
    spec = backbone_feature_spec(backbone, "backbone")
    assert spec.identity == {**backbone.identity(), "batch_norms": "folded"}
    rows = spec.compute(pixels[VIEW_MASK])
    assert rows.shape == (4, backbone.width)
    batch = make_batch(pixels)
    computed = cached_or_computed_features(backbone, "backbone", batch)
    cached_batch = attach_features(make_batch(), [spec], lambda spec: rows)
    cached = cached_or_computed_features(backbone, "backbone", cached_batch)
    for left, right in zip(cached, computed, strict=True):
        torch.testing.assert_close(left, right)


def test_text_features_ignore_padding_and_their_identity_has_the_weights_and_settings():
    torch.manual_seed(0)
    encoder = TextEncoder(BERT, pretrained=False, frozen=True)
    spec = text_feature_spec(encoder, "text", lambda states: states.sum(1), length=2)
    ids, types = torch.tensor([[5, 6, 7]]), torch.zeros(1, 3, dtype=torch.long)
    mask = torch.tensor([[True, True, False]])
    states = encoder(ids, mask, types)[0]  # (tokens, hidden)
    torch.testing.assert_close(spec.compute((ids, mask, types))[0], states[:2].sum(0))
    other = text_feature_spec(TextEncoder(BERT, pretrained=False), "text", torch.sum, length=2)
    assert spec.identity["length"] == 2
    assert spec.identity["weights"] != other.identity["weights"]


def test_rows_of_several_pictures_have_an_axis_of_their_own():
    spec = replace(make_spec("picture"), num_images=2)
    mask = spec.view_mask(make_batch())
    assert torch.equal(mask, VIEW_MASK[:, :2])
    rows = torch.arange(1.0, 1 + 2 * int(mask.sum())).view(-1, 2)
    batch = attach_features(make_batch(), [spec], lambda spec: rows)
    (attached,) = batch.features.values()
    assert attached.shape == (3, 2, 2)
    assert torch.equal(attached[mask], rows)
    assert not attached[~mask].any()
