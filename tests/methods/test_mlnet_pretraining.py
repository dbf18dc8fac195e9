"""MLNet's pretraining tasks against literal versions."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.command import metrics, run, succeed, tiny
from helpers.methods import (
    batch_without_views,
    build_data,
    build_module,
    build_trainer,
    distinct_instances,
    instance_without_views,
    make_batch,
    perturb,
)

from mmie.methods.initialisation import initialise_from
from mmie.methods.mlnet import MLNet
from mmie.methods.mlnet_pretraining import MLNetPretraining, PredictionUnsupported

MASK_ID = 8
TINY = {"vision_backbone": "test_resnet", "fusion_layers": 1}

pytestmark = pytest.mark.filterwarnings(
    "ignore:You are trying to `self.log", "ignore:.*in eval mode"
)


@pytest.fixture(params=["ner", "re"])
def data(request, demo_data, tiny_bert):
    return demo_data(request.param, tiny_bert)


@pytest.fixture
def batch(data):
    posts = distinct_instances(data.instances["train"], 6)
    return make_batch(data, [*posts[:5], instance_without_views(posts[5])])


@pytest.fixture
def build(data, tiny_bert):
    def build(stirred=True, **changes):
        module = build_module(MLNetPretraining, data.schema, tiny_bert, **{**TINY, **changes})
        return perturb(module) if stirred else module

    return build


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def chosen_by(mask, share, generator):
    return mask & (torch.rand(mask.shape, generator=generator) < share)


def test_the_mask_token_of_these_tests_is_the_tokenizers(data):
    assert data.tokenizer.tokenizer.mask_token_id == MASK_ID


def test_chosen_pieces_are_masked_replaced_or_kept_and_the_others_stay(build, data):
    module = build()
    batch = make_batch(data, data.instances["train"][:40] * 20)
    generator = seeded()
    chosen = chosen_by(batch.text_mask, module.text_ratio, generator)
    hidden = module.hide_words(batch, chosen, generator)
    assert torch.equal(hidden.input_ids[~chosen], batch.input_ids[~chosen])
    share = chosen.sum() / batch.text_mask.sum()
    assert 0.13 < share < 0.17
    masked = (hidden.input_ids[chosen] == MASK_ID).double().mean()
    kept = (hidden.input_ids[chosen] == batch.input_ids[chosen]).double().mean()
    assert 0.77 < masked < 0.83
    assert 0.08 < kept < 0.13
    assert not chosen[batch.token_words < 0].any()


def test_the_characters_of_touched_words_are_hidden_and_of_no_others(build, batch):
    chosen = chosen_by(batch.text_mask, 0.3, seeded())
    hidden = build().hide_words(batch, chosen)
    touched = {
        (post, batch.token_words[post, token].item()) for post, token in chosen.nonzero().tolist()
    }
    assert 0 < len(touched) < batch.word_mask.sum()
    for post in range(len(batch)):
        for word in range(batch.characters.shape[1]):
            spelled = torch.zeros_like(batch.characters[post, word])
            if (post, word) not in touched:
                spelled = batch.characters[post, word]
            assert torch.equal(hidden.characters[post, word], spelled)


def test_a_hidden_word_cannot_be_read_from_anywhere(build, batch):
    """Whatever a masked word was, what predicts it is the same."""
    module = build()
    chosen = torch.zeros_like(batch.text_mask)
    place = int((batch.token_words[0] == 1).nonzero()[0])
    chosen[0, place] = True
    other = replace(batch, input_ids=batch.input_ids.clone(), characters=batch.characters.clone())
    other.input_ids[0, place] += 1
    other.characters[0, 1] = torch.where(batch.characters[0, 1] > 0, 99, 0)
    left = module.hide_words(batch, chosen, seeded(1))
    right = module.hide_words(other, chosen, seeded(1))
    assert left.input_ids[0, place] == MASK_ID
    assert torch.equal(left.input_ids, right.input_ids)
    assert torch.equal(module.lower_text_layers(left), module.lower_text_layers(right))


def test_word_loss_is_the_mean_negative_log_likelihood_of_the_chosen_pieces(build, batch):
    module = build()
    regions = module.encode_regions(module.region_grid(batch), batch)
    loss = module.word_loss(regions, batch, seeded())
    generator = seeded()
    chosen = chosen_by(batch.text_mask, module.text_ratio, generator)
    hidden = module.hide_words(batch, chosen, generator)
    states, _ = module.fuse(module.lower_text_layers(hidden), regions, hidden)
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


def test_region_loss_is_the_divergence_from_what_the_classifier_sees_in_the_view(build, batch):
    module = build(region_ratio=0.3)
    text, grid = module.lower_text_layers(batch), module.region_grid(batch)
    loss = module.region_loss(text, grid, batch, seeded())
    per_view = grid.shape[1] // batch.view_mask.shape[1]
    hidden = chosen_by(batch.view_mask.repeat_interleave(per_view, dim=1), 0.3, seeded())
    grid = grid.clone()
    grid[hidden] = -1
    _, regions = module.fuse(text, module.encode_regions(grid, batch), batch)
    losses = []
    for post, place in hidden.nonzero().tolist():
        picture = (batch.pixels[post, place // per_view] - module.vision.mean) / module.vision.std
        seen = module.classifier.model(picture.unsqueeze(0))[0].softmax(-1)
        guess = module.objects(regions[post, place]).softmax(-1)
        losses.append((seen * (seen / guess).log()).sum().item())
    assert len(losses) > 5
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-3)


def test_the_losses_are_the_three_tasks(build, batch):
    module = build()
    losses = module.pretraining_losses(batch, seeded())
    assert losses.keys() == {"mlm", "mvm", "vlm"}
    text, regions = (
        module.lower_text_layers(batch),
        module.encode_regions(module.region_grid(batch), batch),
    )
    torch.testing.assert_close(losses["vlm"], module.match_loss(text, regions, batch))
    bare = module.pretraining_losses(batch_without_views(batch), seeded())
    assert bare["mlm"] > 0
    assert bare["mvm"] == bare["vlm"] == 0


def test_every_trainable_parameter_gets_a_gradient_and_the_classifier_none(build, batch):
    module = build(region_ratio=0.5).train()
    module.training_step(batch, 0).backward()
    dead = [
        n
        for n, p in module.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert [name for name in dead if not name.endswith("key.bias")] == []
    frozen = {name.split(".")[0] for name, p in module.named_parameters() if not p.requires_grad}
    assert frozen == {"vision", "classifier"}
    assert not any(part.training for part in module.classifier.modules())
    grouped = {p for group in module.parameter_groups() for p in group["params"]}
    assert grouped == {p for p in module.parameters() if p.requires_grad}


def test_predictors_share_the_encoders_embeddings_and_train_at_the_heads_rate(build):
    module = build(text_lr=1e-3, fusion_lr=2e-3, head_lr=3e-3)
    assert not any(name.startswith(("head.", "bilstm.")) for name, _ in module.named_parameters())
    assert module.embeddings is module.text.model.get_input_embeddings().weight
    rates = {p: group["lr"] for group in module.parameter_groups() for p in group["params"]}
    assert {rates[p] for part in (module.pieces, module.objects) for p in part.parameters()} == {
        3e-3
    }
    assert rates[module.embeddings] == 1e-3


def test_mlnet_takes_over_all_but_its_head_and_lstm(build, data, batch, tiny_bert, tmp_path):
    module, trainer = build(), build_trainer(tmp_path)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "pretrained.ckpt")
    method = build_module(MLNet, data.schema, tiny_bert, seed=1, **TINY)
    line = initialise_from(method, tmp_path / "pretrained.ckpt")
    new = line.partition("new: ")[2].partition("; left in")[0]
    assert {part.split(".")[0] for part in new.split(", ")} == {"bilstm", "head"}
    states, _ = method.fuse(
        method.lower_text_layers(batch),
        method.encode_regions(method.region_grid(batch), batch),
        batch,
    )
    assert torch.equal(states, module.encode(batch).states)


def test_hidden_pieces_and_regions_are_learnt(build, data):
    module = build(stirred=False, text_lr=3e-3, fusion_lr=3e-3, head_lr=3e-3)
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


def test_a_fit_logs_losses_and_validation_hides_the_same_in_every_epoch(
    demo_root, tiny_bert, tmp_path
):
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


def test_it_answers_nothing(build, batch):
    with pytest.raises(PredictionUnsupported, match="fine-tune MLNet from its checkpoint with"):
        build()(batch)
    with pytest.raises(PredictionUnsupported):
        build().test_step(batch, 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text_ratio": 0.0}, "text_ratio 0.0 and region_ratio 0.15 must be above 0, at most 1"),
        ({"region_ratio": 1.5}, "region_ratio 1.5 must be above 0"),
    ],
)
def test_wrong_settings_are_refused(build, wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)


def test_a_tokenizer_without_a_mask_token_is_refused(data, tiny_bert):
    with pytest.raises(ValueError, match="the tokenizer has no mask token"):
        build_module(MLNetPretraining, replace(data.schema, mask_id=None), tiny_bert, **TINY)


def test_a_backbone_of_a_transformer_is_classified_at_the_size_of_the_pictures(build, batch):
    module = build(vision_backbone="test_vit")
    seen = module.view_classes(batch).sum(-1)
    torch.testing.assert_close(seen, batch.view_mask.float(), rtol=1e-5, atol=0)


def test_pretraining_then_fine_tuning_from_the_command_line(demo_root, tmp_path, caplog):
    first, second = tmp_path / "pretrained", tmp_path / "tuned"
    pretrained = succeed("fit", *tiny("mlnet_pretrain", demo_root, first), "--trainer.max_epochs=2")
    epochs = metrics(first)["fit"]["epochs"]
    assert metrics(first)["fit"]["best"] == min(epochs, key=lambda epoch: epoch["val/loss"])
    assert "val/loss" in pretrained.out
    best = first / "best.ckpt"
    succeed("fit", *tiny("mlnet", demo_root, second), f"--model.init_args.init_from={best}")
    assert f"init_from {best}: took over" in caplog.text
    assert "classifier.model (" in caplog.text.partition("left in the checkpoint: ")[2]
    refused = run("test", *tiny("mlnet_pretrain", demo_root, first))
    assert refused.status == 1
    assert "fine-tune MLNet from its checkpoint" in refused.err.splitlines()[-1]
