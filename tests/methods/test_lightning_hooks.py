"""Lightning hooks, called by a real trainer: schedule, scores, logged losses."""

import math

import pytest
import torch
from helpers.methods import build_data, build_module, build_trainer, distinct_instances
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from mmie.data.batching import InstanceDataset
from mmie.data.sampler import Draw
from mmie.methods import RAP, TextOnly
from mmie.types import Prediction

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*in eval mode", "ignore:You are trying to `self.log", "ignore:.*isinstance.treespec"
)

RATES = {"text_lr": 1e-3, "fusion_lr": 2e-3, "head_lr": 4e-3}


class RateRecorder(Callback):
    """Callback that records the learning rates of every step by group."""

    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append({group["name"]: group["lr"] for group in optimizer.param_groups})


@pytest.fixture(params=["ner", "re"])
def data(request, demo_root, tiny_bert):
    return build_data(demo_root, request.param, tiny_bert, eval_batch_size=5)


def build(data, encoder, method=TextOnly, **arguments):
    return build_module(method, data.schema, encoder, **arguments)


def fitted_rates(module, data, folder, **settings):
    recorder = RateRecorder()
    build_trainer(folder, callbacks=[recorder], limit_val_batches=0, **settings).fit(module, data)
    return recorder.rates


@pytest.mark.slow
@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
def test_rates_rise_then_fall_linearly_to_0(data, tiny_bert, tmp_path, warmup):
    module = build(
        data,
        tiny_bert,
        RAP,
        vision_backbone="test_resnet",
        num_fusion_layers=1,
        warmup_ratio=warmup,
        **RATES,
    )
    rates = fitted_rates(module, data, tmp_path, max_steps=10, max_epochs=-1)
    rising = round(warmup * 10)
    assert len(rates) == 10
    for step, groups in enumerate(rates):
        share = step / rising if step < rising else (10 - step) / (10 - rising)
        expected = {}
        for name in ("text", "fusion", "head"):
            expected[name] = expected[f"{name}_no_decay"] = RATES[f"{name}_lr"] * share
        assert groups == pytest.approx(expected)


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("cosine", [0, 0.5, *((1 + math.cos(math.pi * step / 4)) / 2 for step in range(4))]),
        ("constant", [0, 0.5, 1, 1, 1, 1]),
    ],
)
def test_rates_follow_the_schedule_after_the_warm_up(data, tiny_bert, tmp_path, schedule, shares):
    module = build(data, tiny_bert, warmup_ratio=2 / 6, schedule=schedule, **RATES)
    rates = fitted_rates(module, data, tmp_path, max_steps=6, max_epochs=-1)
    assert [groups["head"] / 4e-3 for groups in rates] == pytest.approx(shares)


def test_schedule_counts_epochs_and_accumulated_batches(data, tiny_bert, tmp_path):
    module = build(data, tiny_bert, warmup_ratio=0.5, **RATES)
    rates = fitted_rates(module, data, tmp_path, max_epochs=2, accumulate_grad_batches=2)
    assert len(data.train_dataloader()) == 6
    assert [groups["text"] / 1e-3 for groups in rates] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]
    )


def literal_scores(module, batches):
    """Compute F1 and mean loss, post by post."""
    module.eval()
    predicted, gold, losses = set(), set(), []
    with torch.no_grad():
        for batch in batches:
            losses += module.head.loss(module.encode(batch).states, batch).tolist()
            for number, prediction, entities in zip(
                batch.index.tolist(), module(batch), batch.entities, strict=True
            ):
                if batch.relations:
                    (relation,) = prediction.relations
                    if relation.label != "None":
                        predicted.add((number, relation.label))
                    gold.add((number, batch.relations[batch.ids.index(prediction.id)].label))
                else:
                    predicted |= {(number, entity) for entity in prediction.entities}
                    gold |= {(number, entity) for entity in entities}
    correct = len(predicted & gold)
    return {
        "f1": 2 * correct / (len(predicted) + len(gold)),
        "precision": correct / max(1, len(predicted)),
        "recall": correct / len(gold),
        "loss": sum(losses) / len(losses),
    }


@pytest.mark.slow
def test_validation_scores_equal_those_computed_by_hand(data, tiny_bert, tmp_path):
    module = build(data, tiny_bert, text_lr=2e-3, head_lr=2e-2)
    trainer = build_trainer(tmp_path, max_epochs=5)
    trainer.fit(module, data)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    expected = literal_scores(module, data.val_dataloader())
    assert 0 < expected["f1"] < 1
    assert {name: logged[f"val/{name}"] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert {"train/loss", "train/task_loss"} <= logged.keys()
    trainer.test(module, data, verbose=False)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    expected = literal_scores(module, data.test_dataloader())
    assert {name: logged[f"test/{name}"] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_scores_are_of_one_epoch_only(data, tiny_bert, tmp_path):
    module = build(data, tiny_bert)
    trainer = build_trainer(tmp_path)
    first = trainer.validate(module, data, verbose=False)
    assert trainer.validate(module, data, verbose=False) == first


def test_extra_losses_are_logged_by_name_and_added_to_the_loss(data, tiny_bert, tmp_path):
    module = build(data, tiny_bert, RAP, vision_backbone="test_resnet", num_fusion_layers=1)
    trainer = build_trainer(tmp_path, max_steps=1, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, data)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert logged["train/router_loss"] > 0
    assert logged["train/loss"] == pytest.approx(
        logged["train/task_loss"] + logged["train/router_loss"]
    )


def test_uncounted_copies_change_no_score_or_loss(data, tiny_bert, tmp_path):
    module = build(data, tiny_bert)
    dataset = InstanceDataset(
        distinct_instances(data.instances["train"], 3), data.val_dataloader().dataset.collator
    )

    def draw(*indices, copies=()):
        counted = tuple(position not in copies for position in range(len(indices)))
        return Draw(0, indices, counted)

    assert dataset[draw(0, 0, 2, copies=[1])].counted.tolist() == [True, False, True]

    def scores(*draws):
        loader = DataLoader(dataset, sampler=draws, batch_size=None)
        (logged,) = build_trainer(tmp_path).validate(module, loader, verbose=False)
        return logged

    expected = pytest.approx(scores(draw(0, 1, 2)))
    copied = scores(draw(0, 0, 1, 2, 2, copies=[1, 4]), draw(0, 1, copies=[0, 1]))
    assert copied == expected
    assert scores(draw(0, 0, 1, 2, 2), draw(0, 1)) != expected


def test_prediction_returns_the_predictions_of_every_batch(data, tiny_bert, tmp_path):
    module, predictions = build(data, tiny_bert), []

    class PredictionRecorder(Callback):
        def on_predict_batch_end(
            self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0
        ):
            predictions.extend(outputs)

    build_trainer(tmp_path, callbacks=[PredictionRecorder()]).predict(
        module, data, return_predictions=False
    )
    with torch.no_grad():
        assert predictions == [
            prediction
            for batch in data.predict_dataloader()
            for prediction in module.predict(batch)
        ]
    assert all(isinstance(prediction, Prediction) for prediction in predictions)
    assert sorted(prediction.id for prediction in predictions) == sorted(
        item.post.id for item in data.instances["test"]
    )


def test_entities_beyond_max_tokens_count_as_gold(demo_root, tiny_bert):
    data = build_data(demo_root, "ner", tiny_bert, max_tokens=8)
    module = build(data, tiny_bert)
    gold = sum(len(instance.post.entities) for instance in data.instances["valid"])
    num_readable = 0
    for instance in data.instances["valid"]:
        num_words = len(instance.text.word_starts)
        num_readable += sum(entity.end <= num_words for entity in instance.post.entities)
    assert num_readable < gold
    for batch in data.val_dataloader():
        decoded = module.head.decode(module.encode(batch).states, batch)
        module.task.update_metric(module.metrics["val"], batch, decoded)
    assert module.metrics["val"].counts[:, 2].sum() == gold
