"""Rows of texts, tokens and pictures in caches, and what batches receive of them."""

from dataclasses import replace

import pytest
import torch
from helpers.methods import distinct_instances, instance_without_views, make_batch

from mmie.blocks.features import FeatureSpec
from mmie.data.picture_audit import picture_digests
from mmie.training.features.cache import FILL_BATCH, FeatureCacheError
from mmie.training.features.provider import (
    CachedFeatureProvider,
    decode_views,
    fill_features,
    fill_pixels,
    text_key,
)


@pytest.fixture
def data(demo_data, tiny_bert):
    return demo_data("ner", tiny_bert)


@pytest.fixture
def instances(data):
    """Four instances that differ in words, the last one without pictures."""
    chosen = distinct_instances(data.instances["train"], 4)
    return [*chosen[:3], instance_without_views(chosen[3])]


@pytest.fixture
def picture_keys(instances):
    paths = {path for instance in instances for path in instance.views if path is not None}
    return picture_digests(paths, 10**6)


def mean_pixels(pixels):
    """Compute the mean of each colour, (pictures, 3)."""
    return pixels.float().mean((2, 3)) / 256


def fill(spec, folder, instances, picture_keys, data):
    """Fill the cache of a specification, and build the provider that reads it."""
    cache = fill_features(
        spec,
        folder,
        instances,
        picture_keys,
        data.transform,
        data.tokenizer.pad_id,
        torch.device("cpu"),
    )
    caches = {} if cache is None else {spec.name: cache}
    specs = [] if cache is None else [spec.without_compute()]
    return CachedFeatureProvider(specs, caches, picture_keys)


@pytest.mark.parametrize("source", ["views", "picture"])
def test_pictures_have_rows_where_they_are_readable(
    source, data, instances, picture_keys, tmp_path
):
    spec = FeatureSpec("mean", source, {"of": "colours"}, mean_pixels)
    provider = fill(spec, tmp_path, instances, picture_keys, data)
    batch = provider.attach(make_batch(data, instances), instances)
    expected = mean_pixels(batch.pixels.flatten(0, 1)).unflatten(0, batch.view_mask.shape)
    expected = torch.where(batch.view_mask[..., None], expected, 0)  # (batch, views, 3)
    if source == "picture":
        expected = expected[:, 0]
    assert batch.view_mask.any()
    assert not batch.view_mask.all()
    torch.testing.assert_close(batch.features["mean"].float(), expected, rtol=1e-3, atol=1e-3)


def test_texts_have_rows_of_their_words(data, instances, picture_keys, tmp_path):
    def count_characters(texts):
        return torch.tensor([[len(text)] for text in texts])

    spec = FeatureSpec("length", "text", {"of": "characters"}, count_characters)
    provider = fill(spec, tmp_path, instances, picture_keys, data)
    batch = provider.attach(make_batch(data, instances), instances)
    lengths = [len(" ".join(instance.post.words)) for instance in instances]
    assert batch.features["length"].squeeze(1).tolist() == lengths


def test_tokens_have_rows_of_the_padded_batch(data, instances, picture_keys, tmp_path):
    def count_tokens(tokens):
        input_ids, attention_mask, _ = tokens
        assert attention_mask.dtype == torch.bool
        assert (input_ids[~attention_mask] == data.tokenizer.pad_id).all()
        return attention_mask.sum(1, keepdim=True)

    spec = FeatureSpec("tokens", "tokens", {"of": "tokens"}, count_tokens)
    provider = fill(spec, tmp_path, instances, picture_keys, data)
    batch = provider.attach(make_batch(data, instances), instances)
    assert batch.features["tokens"].squeeze(1).tolist() == list(map(len, instances))


def test_visual_features_without_readable_pictures_have_no_cache(data, instances, tmp_path):
    spec = FeatureSpec("mean", "views", {}, mean_pixels)
    provider = fill(spec, tmp_path, instances[3:], {}, data)
    assert provider.caches == {}
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_computed_in_batches_of_one_size(data, instances, picture_keys, tmp_path):
    sizes = []

    def record_size(pixels):
        sizes.append(len(pixels))
        return mean_pixels(pixels)

    fill(FeatureSpec("mean", "views", {}, record_size), tmp_path, instances, picture_keys, data)
    assert set(sizes) == {FILL_BATCH}


def test_cached_pixels_are_the_decoded_views(data, instances, picture_keys, tmp_path):
    cache = fill_pixels(tmp_path, picture_keys, data.transform)
    provider = CachedFeatureProvider(picture_keys=picture_keys, pixel_cache=cache)
    pixels = provider.pixels(instances, data.transform)  # (batch, views, 3, size, size)
    assert pixels.dtype == torch.uint8
    for instance, views in zip(instances, pixels, strict=True):
        for path, view in zip(instance.views, views, strict=True):
            expected = torch.zeros_like(view)
            if path is not None:
                expected = data.transform(path)
            assert torch.equal(view, expected)
    assert CachedFeatureProvider().pixels(instances, data.transform) is None


def test_a_text_has_one_key_whatever_its_post(instances):
    words = FeatureSpec("a", "text", {}, list)
    tokens = FeatureSpec("b", "tokens", {}, list)
    first, second = instances[:2]
    renamed = replace(first, post=replace(first.post, id="other"))
    other_context = replace(first, text=replace(first.text, context_length=1))
    for spec in (words, tokens):
        assert text_key(spec, renamed) == text_key(spec, first) != text_key(spec, second)
    assert text_key(words, other_context) == text_key(words, first)
    assert text_key(tokens, other_context) != text_key(tokens, first)


def test_a_picture_that_changes_after_its_check_gets_no_row(
    data, instances, picture_keys, tmp_path
):
    """No row is kept under the digest of other bytes, and the next run reads the picture again."""
    source, other = sorted(picture_keys)[:2]
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(source.read_bytes())
    keys = picture_digests([picture])
    picture.write_bytes(other.read_bytes())
    with pytest.raises(FeatureCacheError, match="changed since it was checked: run the same"):
        fill_pixels(tmp_path / "cache", keys, data.transform)
    keys = picture_digests([picture])
    assert keys[picture] == picture_keys[other]
    rows = fill_pixels(tmp_path / "cache", keys, data.transform).rows([keys[picture]])
    assert torch.equal(rows[0], data.transform(other).flatten())


def test_a_picture_that_vanishes_after_its_check_is_named(data, tmp_path):
    with pytest.raises(FeatureCacheError, match=r"gone.jpg cannot be read any more \(No such file"):
        decode_views([tmp_path / "gone.jpg"], data.transform, {tmp_path / "gone.jpg": "0"})
