"""Methods compute the same from cached features and pixels as from decoded pictures."""

import hashlib
import json

import pytest
import torch
from helpers.command import run, succeed, tiny_options
from helpers.fits import fit_result
from helpers.methods import build_data, build_module, build_trainer, copy_state, equal_states
from lightning.pytorch import Callback
from safetensors import safe_open

from mmie.blocks.vision import VisualBackbone
from mmie.data.pictures import ImageTransform
from mmie.methods import DGHC, IMM, RAP, HVPNet, MLNetPretraining, TextOnly
from mmie.training.features.callback import FeatureCacheCallback, FeatureCacheRequired

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*in eval mode", "ignore:.*does not have many workers"),
]
TINY = {"vision_backbone": "test_resnet"}
TINY_RAP = {**TINY, "num_fusion_layers": 2, "prompt_length": 4}
TINY_DGHC = {"vision_backbone": "test_vit", "prompt_dim": 8}


class BatchRecorder(Callback):
    """Callback that records batches of training, and the pictures that backbones see in each epoch.

    The first count is that of set-up. Blank pictures, which fill up batches, do not count.
    """

    def __init__(self, module):
        self.batches = []
        self.validated = []
        self.num_pictures = [0]
        for part in module.modules():
            if isinstance(part, VisualBackbone):
                part.register_forward_hook(self.count_pictures)

    def count_pictures(self, backbone, inputs, outputs):
        is_picture = inputs[0].flatten(1).any(1)  # (pictures,)
        self.num_pictures[-1] += int(is_picture.sum())

    def on_train_epoch_start(self, trainer, module):
        self.num_pictures.append(0)

    def on_train_batch_start(self, trainer, module, batch, batch_index):
        self.batches.append(batch)

    def on_validation_batch_start(self, trainer, module, batch, batch_index):
        self.validated += batch.index.tolist()


@pytest.fixture
def fit(demo_root, tiny_bert, tmp_path):
    """Function that fits a method with a cache, or without one if the folder is None.

    It returns the method and the `BatchRecorder`.
    """

    def fit(method, folder, epochs=2, data=None, **arguments):
        data = data or build_data(demo_root, "ner", tiny_bert)
        module = build_module(method, data.schema, tiny_bert, **arguments)
        recorder = BatchRecorder(module)
        callbacks = [FeatureCacheCallback(folder), recorder]
        build_trainer(tmp_path, max_epochs=epochs, callbacks=callbacks).fit(module, data)
        return module, recorder

    return fit


@pytest.fixture
def forbid_decoding(monkeypatch):
    """Function after whose call no picture may be decoded."""
    return lambda: monkeypatch.setattr(
        ImageTransform, "load", lambda *_: pytest.fail("a picture was decoded")
    )


def test_a_frozen_backbone_sees_every_distinct_picture_once(fit, tmp_path, demo_data, tiny_bert):
    data = demo_data("ner", tiny_bert)
    contents = set()
    for instance in data.instances["train"] + data.instances["valid"]:
        contents.update(path.read_bytes() for path in instance.views if path is not None)
    _, recorder = fit(HVPNet, tmp_path / "cache", **TINY)
    assert len(contents) <= sum(recorder.num_pictures) <= len(contents) + 10
    assert recorder.num_pictures[1:] == [0, 0]
    assert all(batch.pixels is None and batch.view_mask.any() for batch in recorder.batches)
    _, again = fit(HVPNet, tmp_path / "cache", **TINY)
    assert again.num_pictures == [0, 0, 0]
    _, other_weights = fit(HVPNet, tmp_path / "cache", seed=1, **TINY)
    assert sum(other_weights.num_pictures) == sum(recorder.num_pictures)


@pytest.mark.parametrize(
    ("method", "arguments"), [(HVPNet, TINY), (MLNetPretraining, {**TINY, "mvm_mask": "features"})]
)
def test_cached_features_equal_computed_ones_within_their_precision(
    fit, tmp_path, method, arguments
):
    cached, cached_fit = fit(method, tmp_path / "cache", epochs=1, **arguments)
    computed, computed_fit = fit(method, None, epochs=1, **arguments)
    for fast, slow in zip(cached_fit.batches, computed_fit.batches, strict=True):
        assert fast.ids == slow.ids
        assert (fast.pixels, slow.features) == (None, {})
        outputs = zip(cached.encode_images(fast), cached.encode_images(slow), strict=True)
        for output, expected in outputs:
            torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-4)
            assert not output[~fast.view_mask].any()
    weights = computed.state_dict()
    for name, value in cached.state_dict().items():
        assert torch.allclose(value, weights[name], rtol=0.05, atol=2e-3)


def test_cached_pixels_equal_decoded_ones(fit, tmp_path):
    cached, cached_fit = fit(DGHC, tmp_path / "cache", **TINY_DGHC)
    decoded, decoded_fit = fit(DGHC, None, **TINY_DGHC)
    for fast, slow in zip(cached_fit.batches, decoded_fit.batches, strict=True):
        assert torch.equal(fast.pixels, slow.pixels)
    assert equal_states(copy_state(cached), copy_state(decoded))


def test_cached_pixels_are_not_decoded_again(fit, tmp_path, forbid_decoding):
    fit(DGHC, tmp_path / "cache", epochs=1, **TINY_DGHC)
    forbid_decoding()
    fit(DGHC, tmp_path / "cache", epochs=1, **TINY_DGHC)


def test_no_picture_is_decoded_for_a_method_without_images(fit, tmp_path, forbid_decoding):
    forbid_decoding()
    for folder in (tmp_path / "cache", None):
        _, recorder = fit(TextOnly, folder, epochs=1)
        assert all(batch.pixels is None for batch in recorder.batches)


def test_clip_vectors_are_cached_for_training_and_used_for_matching(fit, tmp_path, tiny_clip):
    arguments = {"patch_size": 16, "clip": str(tiny_clip)}
    module, recorder = fit(IMM, tmp_path / "cache", epochs=1, **arguments)
    for batch in recorder.batches:
        texts, pictures = batch.features["clip_text"], batch.features["clip_image"]
        assert len(texts) == len(pictures) == len(batch)
        similarity = module.similarity(batch)
        assert similarity.shape == (len(batch), len(batch))
        assert not torch.equal(similarity, torch.eye(len(batch)))
    assert not any("clip" in name for name in module.state_dict())
    message = "feature_store is null, but clip_text, clip_image must be kept"
    with pytest.raises(FeatureCacheRequired, match=message):
        fit(IMM, None, epochs=1, **arguments)


def test_a_fast_dev_run_caches_no_features(demo_root, tiny_bert, tmp_path):
    data = build_data(demo_root, "ner", tiny_bert)
    module = build_module(HVPNet, data.schema, tiny_bert, **TINY)
    recorder = BatchRecorder(module)
    callbacks = [FeatureCacheCallback(tmp_path / "cache"), recorder]
    build_trainer(tmp_path, fast_dev_run=True, callbacks=callbacks).fit(module, data)
    assert 0 < sum(recorder.num_pictures) <= 16 * 4


def cached_keys(folder):
    """Return the keys of all rows in a folder of caches."""
    keys = set()
    for file in folder.glob("*/*.safetensors"):
        with safe_open(file, framework="pt") as shard:
            keys.update(json.loads(shard.metadata()["keys"]))
    return keys


@pytest.mark.parametrize(
    "limits",
    [
        {"limit_train_batches": 1, "limit_val_batches": 1, "max_epochs": 2},
        {"limit_train_batches": 0.34, "limit_val_batches": 0, "max_epochs": 1},
        {"max_steps": 1, "limit_val_batches": 0, "max_epochs": 2},
    ],
)
@pytest.mark.parametrize(("method", "arguments"), [(HVPNet, TINY), (DGHC, TINY_DGHC)])
def test_a_trial_caches_what_it_reads_and_no_more(
    demo_root, tiny_bert, tmp_path, method, arguments, limits
):
    data = build_data(demo_root, "ner", tiny_bert)
    module = build_module(method, data.schema, tiny_bert, **arguments)
    recorder = BatchRecorder(module)
    callbacks = [FeatureCacheCallback(tmp_path / "cache"), recorder]
    build_trainer(tmp_path, callbacks=callbacks, **limits).fit(module, data)
    read = [(data.instances["train"], index) for batch in recorder.batches for index in batch.index]
    read += [(data.instances["valid"], index) for index in recorder.validated]
    contents = set()
    for instances, index in read:
        contents.update(path.read_bytes() for path in instances[index].views if path is not None)
    assert cached_keys(tmp_path / "cache") == {
        hashlib.sha256(content).hexdigest() for content in contents
    }
    every = data.instances["train"] + data.instances["valid"]
    assert len(contents) < len({path.read_bytes() for i in every for path in i.views if path})


def test_a_trial_of_a_method_that_needs_a_cache_fills_what_it_reads(
    demo_root, tiny_bert, tmp_path, tiny_clip
):
    data = build_data(demo_root, "ner", tiny_bert)
    module = build_module(IMM, data.schema, tiny_bert, patch_size=16, clip=str(tiny_clip))
    recorder = BatchRecorder(module)
    callbacks = [FeatureCacheCallback(tmp_path / "cache"), recorder]
    build_trainer(tmp_path, fast_dev_run=2, callbacks=callbacks).fit(module, data)
    posts = {int(index) for batch in recorder.batches for index in batch.index}
    assert len(posts) == 16
    assert 16 <= len(cached_keys(tmp_path / "cache")) <= 32


def test_the_command_caches_features_unless_the_option_is_null(demo_root, tmp_path):
    cache = tmp_path / "cache"
    options = tiny_options("hvpnet", demo_root, tmp_path / "run")
    succeed("fit", *options, f"--feature_store={cache}")
    (folder,) = cache.iterdir()
    assert folder.name.startswith("vision-test_resnet-stages-")
    cached = succeed("test", *options, f"--feature_store={cache}").out
    computed = succeed("test", *options, "--feature_store=null", "--data.batch_size=4").out
    assert "F1" in cached
    assert cached.splitlines()[:5] == computed.splitlines()[:5]
    imm = [*tiny_options("imm", demo_root, tmp_path / "imm"), "--model.init_args.clip=x"]
    outcome = run("fit", *imm, "--feature_store=null")
    assert (outcome.status, outcome.err.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("method", "arguments", "name"),
    [(RAP, TINY_RAP, "first_pass"), (DGHC, {**TINY, "prompt_dim": 8}, "summary")],
)
def test_the_first_pass_of_a_frozen_text_encoder_is_cached(
    fit, tmp_path, monkeypatch, method, arguments, name
):
    num_passes = 0
    encode_text = method.encode_text

    def count_passes(self, *inputs):
        nonlocal num_passes
        num_passes += 1
        return encode_text(self, *inputs)

    monkeypatch.setattr(method, "encode_text", count_passes)
    cached, cached_fit = fit(method, tmp_path / "cache", epochs=1, freeze_text=True, **arguments)
    num_cached_passes, num_passes = num_passes, 0
    _, computed_fit = fit(method, None, epochs=1, freeze_text=True, **arguments)
    assert num_passes == 2 * num_cached_passes
    for fast, slow in zip(cached_fit.batches, computed_fit.batches, strict=True):
        assert name in fast.features
        states = cached.eval().encode(fast).states[fast.attention_mask]
        expected = cached.encode(slow).states[slow.attention_mask]
        torch.testing.assert_close(states, expected, rtol=0.01, atol=0.01)
    _, trained_fit = fit(method, tmp_path / "cache", epochs=1, **arguments)
    assert all(name not in batch.features for batch in trained_fit.batches)


def test_first_passes_with_other_limits_of_tokens_share_a_folder(
    fit, demo_root, tiny_bert, tmp_path
):
    # a row is as wide as the longest text may be: rows of other widths must not be mixed up
    for max_tokens in (64, 48):
        data = build_data(demo_root, "ner", tiny_bert, max_tokens=max_tokens)
        settings = {**TINY_RAP, "epochs": 1, "data": data, "freeze_text": True}
        module, recorder = fit(RAP, tmp_path / "cache", **settings)
        widths = {batch.features["first_pass"].shape[1] for batch in recorder.batches}
        assert widths == {max_tokens * module.text.hidden_size}


@pytest.mark.parametrize("method", ["hvpnet", "mlnet", "mlnet_pretrain"])
def test_a_fit_that_fills_the_cache_equals_one_that_finds_it_filled(demo_root, tmp_path, method):
    """Weights, moments, scores and log are equal bit for bit, dropout included."""
    cache = f"--feature_store={tmp_path / 'cache'}"
    results, computed = [], []
    for name in ("cold", "warm"):
        options = tiny_options(method, demo_root, tmp_path / name)
        outcome = succeed(
            "fit", *options, cache, "--trainer.max_epochs=2", "--data.train_fraction=0.5"
        )
        computed.append("computing vision-" in outcome.err)
        results.append(fit_result(tmp_path / name))
    assert computed == [True, False]
    assert results[0] == results[1]


def test_features_can_be_computed_ahead_of_a_fit(demo_root, tmp_path, forbid_decoding):
    cache = f"--feature_store={tmp_path / 'cache'}"
    options = tiny_options("hvpnet", demo_root, tmp_path / "run")
    out = succeed("corpus", "features", *options, cache).out
    assert out.splitlines()[-1] == f"all that HVPNet reads of demo is in {tmp_path / 'cache'}"
    assert not (tmp_path / "run").exists()
    forbid_decoding()
    succeed("fit", *options, cache)
    succeed("test", *options, cache)
    outcome = run("corpus", "features", *options, "--feature_store=null")
    assert "feature_store is null" in outcome.err
