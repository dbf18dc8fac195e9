"""MLNet's pretraining losses against literal versions."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.command import metrics, run, succeed, tiny_options
from helpers.methods import (
    batch_without_views,
    build_data,
    build_module,
    build_trainer,
    distinct_instances,
    instance_without_views,
    make_batch,
    parameter_rates,
    parameters_without_gradient,
    perturb,
)

from mmie.methods.initialisation import initialise_from
from mmie.methods.mlnet import MLNet
from mmie.methods.mlnet_pretraining import MLNetPretraining, PredictionUnsupported

MASK_ID = 8
TINY = {"vision_backbone": "test_resnet", "fusion_layers": 1}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:You are trying to `self.log", "ignore:.*in eval mode"),
]


@pytest.fixture(params=["ner", "re"])
def data(request, demo_data, tiny_bert):
    return demo_data(request.param, tiny_bert)


@pytest.fixture
def batch(data):
    posts = distinct_instances(data.instances["train"], 6)
    return make_batch(data, [*posts[:5], instance_without_views(posts[5])])


@pytest.fixture
def build(data, tiny_bert):
    def build(perturbed=True, **changes):
        module = build_module(MLNetPretraining, data.schema, tiny_bert, **{**TINY, **changes})
        return perturb(module) if perturbed else module

    return build


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(mask, share, generator):
    return mask & (torch.rand(mask.shape, generator=generator) < share)


def test_mask_id_is_the_tokenizers(data):
    assert data.tokenizer.tokenizer.mask_token_id == MASK_ID


def test_chosen_pieces_are_masked_replaced_or_kept(build, data):
    module = build()
    batch = make_batch(data, data.instances["train"][:40] * 20)
    generator = seeded()
    chosen = draw(batch.text_mask, module.text_ratio, generator)
    hidden = module.hide_words(batch, chosen, generator)
    assert torch.equal(hidden.input_ids[~chosen], batch.input_ids[~chosen])
    share = chosen.sum() / batch.text_mask.sum()
    assert 0.13 < share < 0.17
    masked = (hidden.input_ids[chosen] == MASK_ID).double().mean()
    unchanged = (hidden.input_ids[chosen] == batch.input_ids[chosen]).double().mean()
    assert 0.77 < masked < 0.83
    assert 0.08 < unchanged < 0.13
    assert not chosen[batch.token_words < 0].any()


def test_only_characters_of_chosen_words_are_hidden(build, batch):
    chosen = draw(batch.text_mask, 0.3, seeded())
    hidden = build().hide_words(batch, chosen)
    chosen_words = {
        (post, batch.token_words[post, token].item()) for post, token in chosen.nonzero().tolist()
    }
    assert 0 < len(chosen_words) < batch.word_mask.sum()
    for post in range(len(batch)):
        for word in range(batch.characters.shape[1]):
            expected = torch.zeros_like(batch.characters[post, word])
            if (post, word) not in chosen_words:
                expected = batch.characters[post, word]
            assert torch.equal(hidden.characters[post, word], expected)


def test_inputs_do_not_reveal_hidden_words(build, batch):
    """The inputs are the same for two different words that are masked."""
    module = build()
    chosen = torch.zeros_like(batch.text_mask)
    token = int((batch.token_words[0] == 1).nonzero()[0])
    chosen[0, token] = True
    other = replace(batch, input_ids=batch.input_ids.clone(), characters=batch.characters.clone())
    other.input_ids[0, token] += 1
    other.characters[0, 1] = torch.where(batch.characters[0, 1] > 0, 99, 0)
    left = module.hide_words(batch, chosen, seeded(1))
    right = module.hide_words(other, chosen, seeded(1))
    assert left.input_ids[0, token] == MASK_ID
    assert torch.equal(left.input_ids, right.input_ids)
    assert torch.equal(module.lower_text_layers(left), module.lower_text_layers(right))


def test_word_loss_is_the_mean_negative_log_likelihood_of_chosen_pieces(build, batch):
    module = build()
    regions = module.encode_regions(module.region_grid(batch), batch)
    loss = module.word_loss(regions, batch, seeded())
    generator = seeded()
    chosen = draw(batch.text_mask, module.text_ratio, generator)
    hidden = module.hide_words(batch, chosen, generator)
    states = module.fuse(module.lower_text_layers(hidden), regions, hidden).text
    table, pieces, losses = module.text.model.embeddings.word_embeddings.weight, module.pieces, []
    for post, token in chosen.nonzero().tolist():
        transformed = pieces.norm(torch.nn.functional.gelu(pieces.transform(states[post, token])))
        scores = [
            (transformed @ row + bias).item() for row, bias in zip(table, pieces.bias, strict=True)
        ]
        highest = max(scores)
        total = highest + math.log(sum(math.exp(score - highest) for score in scores))
        losses.append(total - scores[batch.input_ids[post, token]])
    assert len(losses) > 3
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def hidden_views(module, batch, hidden):
    """Return normalised views in which the square behind every hidden region is -1 before it."""
    pixels = batch.pixels.double() / 255
    _, height, width = module.vision.shapes[-1]
    size = pixels.shape[-1]
    for post, region in hidden.nonzero().tolist():
        view, cell = divmod(region, height * width)
        row, column = divmod(cell, width)
        for y in range(row * size // height, (row + 1) * size // height):
            for x in range(column * size // width, (column + 1) * size // width):
                pixels[post, view, :, y, x] = -1
    return ((pixels - module.vision.mean / 255) / (module.vision.std / 255)).float()


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_pixels_behind_hidden_regions_are_minus_one(build, batch, backbone):
    module = build(vision_backbone=backbone)
    grid = module.region_grid(batch)
    hidden = draw(module.region_mask(grid, batch), 0.3, seeded())
    masked = module.hide_regions(grid, hidden, batch)
    views = hidden_views(module, batch, hidden)
    for post, view in batch.view_mask.nonzero().tolist():
        (maps,) = module.vision._encode(views[post, view].unsqueeze(0))
        cells = maps.shape[-1] * maps.shape[-2]
        expected = maps[0].flatten(1).T
        rows = masked[post, view * cells : (view + 1) * cells]
        torch.testing.assert_close(rows, expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(masked, grid, atol=1e-3)
    nothing = torch.zeros_like(hidden)
    torch.testing.assert_close(module.hide_regions(grid, nothing, batch), grid)


def test_cached_features_are_not_those_of_hidden_pixels(build, batch):
    module = build()
    grid = module.region_grid(batch)
    hidden = draw(module.region_mask(grid, batch), 0.3, seeded())
    rows = [part.flatten(2) for part in module.encode_images(batch)]
    cached = replace(batch, features={"vision": torch.cat(rows, dim=2)})
    torch.testing.assert_close(
        module.hide_regions(grid, hidden, cached), module.hide_regions(grid, hidden, batch)
    )
    assert module.reads_pixels
    assert not build(mvm_mask="features").reads_pixels


@pytest.mark.parametrize("target", ["distribution", "class"])
def test_region_loss_is_that_of_the_classifier(build, batch, target):
    module = build(region_ratio=0.3, mvm_mask="features", mvm_target=target)
    text, grid = module.lower_text_layers(batch), module.region_grid(batch)
    loss = module.region_loss(text, grid, batch, seeded())
    per_view = grid.shape[1] // batch.view_mask.shape[1]
    hidden = draw(batch.view_mask.repeat_interleave(per_view, dim=1), 0.3, seeded())
    grid = grid.clone()
    grid[hidden] = -1
    regions = module.fuse(text, module.encode_regions(grid, batch), batch).regions
    losses = []
    for post, region in hidden.nonzero().tolist():
        picture = (batch.pixels[post, region // per_view] - module.vision.mean) / module.vision.std
        detected = module.classifier.model(picture.unsqueeze(0))[0].softmax(-1)
        predicted = module.objects(regions[post, region]).softmax(-1)
        if target == "class":
            losses.append(-predicted[detected.argmax()].log().item())
        else:
            losses.append((detected * (detected / predicted).log()).sum().item())
    assert len(losses) > 5
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-3)


def test_losses_of_the_three_tasks(build, batch):
    module = build()
    losses = module.pretraining_losses(batch, seeded())
    assert losses.keys() == {"mlm", "mvm", "vlm"}
    text, regions = (
        module.lower_text_layers(batch),
        module.encode_regions(module.region_grid(batch), batch),
    )
    scores = module.match_scores(text, regions, batch)
    grid = module.region_grid(batch)
    torch.testing.assert_close(losses["vlm"], module.match_loss(text, grid, scores, batch))
    without_views = module.pretraining_losses(batch_without_views(batch), seeded())
    assert without_views["mlm"] > 0
    assert without_views["mvm"] == without_views["vlm"] == 0


def test_every_trainable_parameter_gets_a_gradient_and_the_classifier_is_frozen(build, batch):
    module = build(region_ratio=0.5).train()
    module.training_step(batch, 0).backward()
    assert parameters_without_gradient(module) == []
    frozen = {name.split(".")[0] for name, p in module.named_parameters() if not p.requires_grad}
    assert frozen == {"vision", "classifier"}
    assert not any(part.training for part in module.classifier.modules())
    grouped = {p for group in module.parameter_groups() for p in group["params"]}
    assert grouped == {p for p in module.parameters() if p.requires_grad}


def test_predictors_share_the_text_embeddings_and_train_at_the_head_rate(build):
    module = build(text_lr=1e-3, fusion_lr=2e-3, head_lr=3e-3)
    assert not any(name.startswith(("head.", "bilstm.")) for name, _ in module.named_parameters())
    assert module.embeddings is module.text.model.get_input_embeddings().weight
    rates = parameter_rates(module)
    assert {rates[p] for part in (module.pieces, module.objects) for p in part.parameters()} == {
        3e-3
    }
    assert rates[module.embeddings] == 1e-3


def test_mlnet_copies_all_but_its_head_and_lstm(build, data, batch, tiny_bert, tmp_path):
    module, trainer = build(), build_trainer(tmp_path)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "pretrained.ckpt")
    method = build_module(MLNet, data.schema, tiny_bert, seed=1, **TINY)
    line = initialise_from(method, tmp_path / "pretrained.ckpt")
    new = line.partition("new: ")[2].partition("; left in")[0]
    assert {part.split(".")[0] for part in new.split(", ")} == {"bilstm", "head"}
    regions = method.encode_regions(method.region_grid(batch), batch)
    states = method.fuse(method.lower_text_layers(batch), regions, batch).text
    assert torch.equal(states, module.encode(batch).states)


def test_word_and_region_losses_can_be_learnt(build, data):
    module = build(perturbed=False, text_lr=3e-3, fusion_lr=3e-3, head_lr=3e-3)
    batch = make_batch(data, distinct_instances(data.instances["train"], 6))
    optimizer = torch.optim.AdamW(module.parameter_groups())
    history = []
    for _ in range(40):
        losses = module.pretraining_losses(batch, seeded())
        history.append({name: loss.item() for name, loss in losses.items()})
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert all(history[-1][name] < 0.3 * history[0][name] for name in ("mlm", "mvm"))


def test_fit_logs_losses_and_validation_is_repeatable(demo_root, tiny_bert, tmp_path):
    data = build_data(demo_root, "ner", tiny_bert)
    module = build_module(MLNetPretraining, data.schema, tiny_bert, **TINY)
    trainer = build_trainer(tmp_path, max_epochs=1)
    (before,) = trainer.validate(module, data, verbose=False)
    (again,) = trainer.validate(module, data, verbose=False)
    assert before == again
    assert before.keys() == {"val/loss", "val/mlm_loss", "val/mvm_loss", "val/vlm_loss"}
    trainer.fit(module, data)
    after = {name: value.item() for name, value in trainer.callback_metrics.items()}
    for stage in ("train", "val"):
        parts = [after[f"{stage}/{name}_loss"] for name in ("mlm", "mvm", "vlm")]
        assert after[f"{stage}/loss"] == pytest.approx(sum(parts), rel=1e-4)
    assert after["val/loss"] != before["val/loss"]
    assert MLNetPretraining.monitor == ("val/loss", "min")


def test_prediction_raises(build, batch):
    with pytest.raises(PredictionUnsupported, match="fine-tune MLNet from its checkpoint with"):
        build()(batch)
    with pytest.raises(PredictionUnsupported):
        build().test_step(batch, 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text_ratio": 0.0}, "text_ratio 0.0 and region_ratio 0.15 must be above 0, at most 1"),
        ({"region_ratio": 1.5}, "region_ratio 1.5 must be above 0"),
        ({"mvm_mask": "boxes"}, "mvm_mask is 'boxes': expected pixels or features"),
        ({"mvm_target": "box"}, "mvm_target is 'box': expected distribution or class"),
    ],
)
def test_invalid_arguments_raise(build, wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)


def test_tokenizer_without_a_mask_token_raises(data, tiny_bert):
    with pytest.raises(ValueError, match="the tokenizer has no mask token"):
        build_module(MLNetPretraining, replace(data.schema, mask_id=None), tiny_bert, **TINY)


def test_vit_classifies_views_at_their_size(build, batch):
    module = build(vision_backbone="test_vit")
    total = module.view_classes(batch).sum(-1)
    torch.testing.assert_close(total, batch.view_mask.float(), rtol=1e-5, atol=0)


def test_pretraining_then_fine_tuning_from_the_command_line(demo_root, tmp_path, caplog):
    first, second = tmp_path / "pretrained", tmp_path / "tuned"
    pretrained = succeed(
        "fit", *tiny_options("mlnet_pretrain", demo_root, first), "--trainer.max_epochs=2"
    )
    epochs = metrics(first)["fit"]["epochs"]
    assert metrics(first)["fit"]["best"] == min(epochs, key=lambda epoch: epoch["val/loss"])
    assert "validation loss" in pretrained.out
    best = first / "best.ckpt"
    succeed("fit", *tiny_options("mlnet", demo_root, second), f"--model.init_args.init_from={best}")
    assert f"init_from {best}: took over" in caplog.text
    assert "classifier.model (" in caplog.text.partition("left in the checkpoint: ")[2]
    refused = run("test", *tiny_options("mlnet_pretrain", demo_root, first))
    assert refused.status == 1
    assert "fine-tune MLNet from its checkpoint" in refused.err.splitlines()[-1]


@pytest.mark.parametrize("changes", [{}, {"mvm_mask": "features", "gate": "once"}])
def test_gradient_under_bfloat16_autocast_is_close_to_that_in_float32(build, batch, changes):
    module = build(fusion_layers=2, region_ratio=0.5, **changes)
    gradients = []
    for use_bfloat16 in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=use_bfloat16):
            losses = module.pretraining_losses(batch, seeded())
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        sum(losses.values()).backward()
        parts = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999


def test_a_checkpoint_from_before_masked_pixels_masks_features():
    weights = {"match.score.weight": torch.zeros(1, 8)}
    upgraded = MLNetPretraining.upgrade_init_args({"text_ratio": 0.2}, weights)
    assert upgraded["mvm_mask"] == "features"
    assert (upgraded["gate"], upgraded["text_ratio"]) == ("once", 0.2)
    new = {"gate": "once"}
    assert MLNetPretraining.upgrade_init_args(new, weights) == new
    assert MLNetPretraining.upgrade_init_args({}, {}) == {}
