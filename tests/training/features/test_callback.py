"""What a method reads of pictures is computed once and means the same as computed in every step."""

import pytest
import torch
from helpers.command import run, succeed, tiny_options
from helpers.methods import build_data, build_module, build_trainer, copy_state, equal_states
from lightning.pytorch import Callback

from mmie.blocks.vision import VisualBackbone
from mmie.data.pictures import ImageTransform
from mmie.methods import DGHC, IMM, RAP, HVPNet, MLNetPretraining, TextOnly
from mmie.training.features.callback import FeatureCacheCallback, FeatureCacheRequired

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*in eval mode", "ignore:.*does not have many workers"
)
TINY = {"vision_backbone": "test_resnet"}


class Watch(Callback):
    """Keeps the batches of training and counts pictures that a backbone sees, by epoch; blanks fill up its batches."""

    def __init__(self, module):
        self.batches, self.seen = [], [0]
        for part in module.modules():
            if isinstance(part, VisualBackbone):
                part.register_forward_hook(
                    lambda _, inputs, __: self.count(int(inputs[0].flatten(1).any(1).sum()))
                )

    def count(self, pictures: int) -> None:
        self.seen[-1] += pictures

    def on_train_epoch_start(self, trainer, module):
        self.seen.append(0)

    def on_train_batch_start(self, trainer, module, batch, number):
        self.batches.append(batch)


@pytest.fixture
def fit(demo_root, tiny_bert, tmp_path):
    """Fits a method on the demo corpus with a store or without; the module and what `Watch` saw."""

    def fit(method, folder, epochs=2, data=None, **arguments):
        data = data or build_data(demo_root, "ner", tiny_bert)
        module = build_module(method, data.schema, tiny_bert, **arguments)
        watch = Watch(module)
        trainer = build_trainer(
            tmp_path, max_epochs=epochs, callbacks=[FeatureCacheCallback(folder), watch]
        )
        trainer.fit(module, data)
        return module, watch

    return fit


def test_a_frozen_backbone_sees_every_distinct_picture_once_and_none_later(
    fit, tmp_path, demo_data, tiny_bert
):
    data = demo_data("ner", tiny_bert)
    contents = {
        p.read_bytes()
        for split in ("train", "valid")
        for i in data.instances[split]
        for p in i.views
        if p
    }
    _, watch = fit(HVPNet, tmp_path / "store", **TINY)
    assert len(contents) <= sum(watch.seen) <= len(contents) + 10
    assert watch.seen[1:] == [0, 0]
    assert all(batch.pixels is None and batch.view_mask.any() for batch in watch.batches)
    _, again = fit(HVPNet, tmp_path / "store", **TINY)
    assert again.seen == [0, 0, 0]
    _, other = fit(HVPNet, tmp_path / "store", seed=1, **TINY)  # other weights
    assert sum(other.seen) == sum(watch.seen)


@pytest.mark.parametrize(
    ("method", "arguments"), [(HVPNet, TINY), (MLNetPretraining, {**TINY, "fusion_layers": 1})]
)
def test_kept_features_mean_the_same_within_their_precision(fit, tmp_path, method, arguments):
    kept, watch = fit(method, tmp_path / "store", epochs=1, **arguments)
    computed, plain = fit(method, None, epochs=1, **arguments)
    for fast, slow in zip(watch.batches, plain.batches, strict=True):
        assert fast.ids == slow.ids
        assert (fast.pixels, slow.features) == (None, {})
        for ours, theirs in zip(kept.encode_images(fast), kept.encode_images(slow), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
            assert not ours[~fast.view_mask].any()
    weights = computed.state_dict()
    close = [
        torch.allclose(value, weights[name], rtol=0.05, atol=2e-3)
        for name, value in kept.state_dict().items()
    ]
    assert all(close)


def test_kept_pixels_are_the_decoded_ones(fit, tmp_path):
    arguments = {"vision_backbone": "test_vit", "prompt_dim": 8}
    kept, watch = fit(DGHC, tmp_path / "store", **arguments)
    decoded, plain = fit(DGHC, None, **arguments)
    assert all(
        torch.equal(a.pixels, b.pixels) for a, b in zip(watch.batches, plain.batches, strict=True)
    )
    assert equal_states(copy_state(kept), copy_state(decoded))


def test_kept_pixels_are_not_decoded_again(fit, tmp_path, monkeypatch):
    arguments = {"vision_backbone": "test_vit", "prompt_dim": 8}
    fit(DGHC, tmp_path / "store", epochs=1, **arguments)
    monkeypatch.setattr(ImageTransform, "load", lambda *_: pytest.fail("decoded"))
    fit(DGHC, tmp_path / "store", epochs=1, **arguments)


def test_a_method_that_looks_at_nothing_has_no_picture_decoded(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageTransform, "load", lambda *_: pytest.fail("decoded"))
    for folder in (tmp_path / "store", None):
        _, watch = fit(TextOnly, folder, epochs=1)
        assert all(batch.pixels is None for batch in watch.batches)


def test_clips_vectors_are_kept_for_training_and_decide_what_matches(fit, tmp_path, tiny_clip):
    arguments = {"patch_size": 16, "clip": str(tiny_clip)}
    module, watch = fit(IMM, tmp_path / "store", epochs=1, **arguments)
    for batch in watch.batches:
        texts, pictures = batch.features["clip_text"], batch.features["clip_image"]
        assert len(texts) == len(pictures) == len(batch)
        similarity = module.similarity(batch)
        assert similarity.shape == (len(batch), len(batch))
        assert not torch.equal(similarity, torch.eye(len(batch)))
    assert not any("clip" in name for name in module.state_dict())
    with pytest.raises(
        FeatureCacheRequired, match="feature_store is null, but clip_text, clip_image must be kept"
    ):
        fit(IMM, None, epochs=1, **arguments)


def test_a_trial_run_computes_no_features(demo_root, tiny_bert, tmp_path):
    data = build_data(demo_root, "ner", tiny_bert)
    module = build_module(HVPNet, data.schema, tiny_bert, **TINY)
    watch = Watch(module)
    trainer = build_trainer(
        tmp_path, fast_dev_run=True, callbacks=[FeatureCacheCallback(tmp_path / "store"), watch]
    )
    trainer.fit(module, data)
    assert 0 < sum(watch.seen) <= 16 * 4


def test_the_command_keeps_features_unless_told_not_to(demo_root, tmp_path):
    store = tmp_path / "store"
    options = tiny_options("hvpnet", demo_root, tmp_path / "run")
    succeed("fit", *options, f"--feature_store={store}")
    (kept,) = store.iterdir()
    assert kept.name.startswith("vision-test_resnet-stages-")
    trained = succeed("test", *options, f"--feature_store={store}").out
    plain = succeed("test", *options, "--feature_store=null", "--data.batch_size=4").out
    assert "f1" in trained
    assert trained.splitlines()[:5] == plain.splitlines()[:5]
    refused = run(
        "fit",
        *tiny_options("imm", demo_root, tmp_path / "imm"),
        "--model.init_args.clip=x",
        "--feature_store=null",
    )
    assert (refused.status, refused.err.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("method", "arguments", "name"),
    [
        (RAP, {**TINY, "num_fusion_layers": 2, "prompt_length": 4}, "first_pass"),
        (DGHC, {**TINY, "prompt_dim": 8}, "summary"),
    ],
)
def test_the_first_pass_of_a_frozen_text_encoder_is_kept(
    fit, tmp_path, monkeypatch, method, arguments, name
):
    passes = []
    encode_text = method.encode_text
    monkeypatch.setattr(
        method,
        "encode_text",
        lambda self, *given: passes.append(given) or encode_text(self, *given),
    )
    kept, watch = fit(method, tmp_path / "store", epochs=1, freeze_text=True, **arguments)
    once = len(passes)
    _, plain = fit(method, None, epochs=1, freeze_text=True, **arguments)
    assert len(passes) - once == 2 * once
    for fast, slow in zip(watch.batches, plain.batches, strict=True):
        assert name in fast.features
        found = kept.eval().encode(fast).states[fast.attention_mask]
        expected = kept.encode(slow).states[slow.attention_mask]
        torch.testing.assert_close(found, expected, rtol=0.01, atol=0.01)
    _, trained = fit(method, tmp_path / "store", epochs=1, **arguments)
    assert all(name not in batch.features for batch in trained.batches)


def test_first_passes_of_texts_cut_elsewhere_share_a_folder(fit, demo_root, tiny_bert, tmp_path):
    """A row is as wide as the longest text may be; what another limit left must not be taken for one's own."""
    for max_tokens in (64, 48):
        data = build_data(demo_root, "ner", tiny_bert, max_tokens=max_tokens)
        arguments = {**TINY, "num_fusion_layers": 2, "prompt_length": 4, "freeze_text": True}
        module, watch = fit(RAP, tmp_path / "store", epochs=1, data=data, **arguments)
        widths = {batch.features["first_pass"].shape[1] for batch in watch.batches}
        assert widths == {max_tokens * module.text.hidden_size}


def test_features_are_computed_ahead_of_time(demo_root, tmp_path, monkeypatch):
    store = f"--feature_store={tmp_path / 'store'}"
    options = tiny_options("hvpnet", demo_root, tmp_path / "run")
    told = succeed("corpus", "features", *options, store).out
    assert told.splitlines()[-1] == f"all that HVPNet reads of demo is in {tmp_path / 'store'}"
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(ImageTransform, "load", lambda *_: pytest.fail("decoded"))
    succeed("fit", *options, store)
    succeed("test", *options, store)
    assert (
        "feature_store is null" in run("corpus", "features", *options, "--feature_store=null").err
    )
