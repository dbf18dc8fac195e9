"""The base class through a real trainer: schedule, scores, what is counted."""

from dataclasses import replace

import pytest
import torch
from helpers.methods import build_data, build_module, build_trainer, distinct_instances, make_batch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from mmie.data.batching import InstanceDataset
from mmie.methods import RAP, TextOnly
from mmie.types import Prediction, Schema

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*in eval mode", "ignore:You are trying to `self.log", "ignore:.*isinstance.treespec"
)

RATES = {"text_lr": 1e-3, "fusion_lr": 2e-3, "head_lr": 4e-3}


class RateRecorder(Callback):
    """Learning rates with which every step was made, by group."""

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
        wanted = {
            f"{name}{kind}": RATES[f"{name}_lr"] * share
            for name in ("text", "fusion", "head")
            for kind in ("", "_no_decay")
        }
        assert groups == pytest.approx(wanted)


def test_the_schedule_counts_epochs_and_accumulated_batches(data, tiny_bert, tmp_path):
    module = build(data, tiny_bert, warmup_ratio=0.5, **RATES)
    rates = fitted_rates(module, data, tmp_path, max_epochs=2, accumulate_grad_batches=2)
    assert len(data.train_dataloader()) == 6
    assert [groups["text"] / 1e-3 for groups in rates] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]
    )


def literal_scores(module, batches):
    """F1 and mean loss, post by post."""
    module.eval()
    found, gold, losses = set(), set(), []
    with torch.no_grad():
        for batch in batches:
            losses += module.head.loss(module.encode(batch).states, batch).tolist()
            for number, prediction, entities in zip(
                batch.index.tolist(), module(batch), batch.entities, strict=True
            ):
                if batch.relations:
                    (relation,) = prediction.relations
                    found |= {(number, relation.label)} if relation.label != "None" else set()
                    gold |= {(number, batch.relations[batch.ids.index(prediction.id)].label)}
                else:
                    found |= {(number, entity) for entity in prediction.entities}
                    gold |= {(number, entity) for entity in entities}
    right = len(found & gold)
    return {
        "f1": 2 * right / (len(found) + len(gold)),
        "precision": right / max(1, len(found)),
        "recall": right / len(gold),
        "loss": sum(losses) / len(losses),
    }


def test_validation_scores_equal_those_computed_by_hand(data, tiny_bert, tmp_path):
    module = build(data, tiny_bert, text_lr=2e-3, head_lr=2e-2)
    trainer = build_trainer(tmp_path, max_epochs=5)
    trainer.fit(module, data)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    wanted = literal_scores(module, data.val_dataloader())
    assert 0 < wanted["f1"] < 1
    assert {name: logged[f"val/{name}"] for name in wanted} == pytest.approx(wanted, rel=1e-5)
    assert {"train/loss", "train/task_loss"} <= logged.keys()
    trainer.test(module, data, verbose=False)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    wanted = literal_scores(module, data.test_dataloader())
    assert {name: logged[f"test/{name}"] for name in wanted} == pytest.approx(wanted, rel=1e-5)


def test_scores_are_of_one_epoch_only(data, tiny_bert, tmp_path):
    module = build(data, tiny_bert)
    trainer = build_trainer(tmp_path)
    first = trainer.validate(module, data, verbose=False)
    assert trainer.validate(module, data, verbose=False) == first


def test_extra_losses_are_logged_by_name_and_the_sum_is_what_is_trained_on(
    data, tiny_bert, tmp_path
):
    module = build(data, tiny_bert, RAP, vision_backbone="test_resnet", num_fusion_layers=1)
    trainer = build_trainer(tmp_path, max_steps=1, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, data)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert logged["train/router_loss"] > 0
    assert logged["train/loss"] == pytest.approx(
        logged["train/task_loss"] + logged["train/router_loss"]
    )


def test_copies_are_left_out_of_scores_and_loss(data, tiny_bert, tmp_path):
    module = build(data, tiny_bert)
    dataset = InstanceDataset(
        distinct_instances(data.instances["train"], 3), data.val_dataloader().dataset.collator
    )
    assert dataset[0, [0, -1, 2]].counted.tolist() == [True, False, True]

    def scores(*batches):
        loader = DataLoader(dataset, sampler=[(0, batch) for batch in batches], batch_size=None)
        (found,) = build_trainer(tmp_path).validate(module, loader, verbose=False)
        return found

    wanted = pytest.approx(scores([0, 1, 2]))
    assert scores([0, -1, 1, 2, -3], [-1, -2]) == wanted  # a number below 0 is a copy
    assert scores([0, 0, 1, 2, 2], [0, 1]) != wanted


def test_prediction_gives_the_answers_of_every_batch(data, tiny_bert, tmp_path):
    module, predictions = build(data, tiny_bert), []

    class Keeper(Callback):
        def on_predict_batch_end(
            self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0
        ):
            predictions.extend(outputs)

    build_trainer(tmp_path, callbacks=[Keeper()]).predict(module, data, return_predictions=False)
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


def test_words_cut_off_are_answered_with_nothing_and_still_count(demo_root, tiny_bert):
    data = build_data(demo_root, "ner", tiny_bert, max_tokens=8)
    module = build(data, tiny_bert)
    gold = sum(len(instance.post.entities) for instance in data.instances["valid"])
    kept = sum(
        sum(entity.end <= len(instance.text.word_starts) for entity in instance.post.entities)
        for instance in data.instances["valid"]
    )
    assert kept < gold
    for batch in data.val_dataloader():
        module.task.update_metric(
            module.metrics["val"], batch, module.head.decode(module.encode(batch).states, batch)
        )
    assert module.metrics["val"].counts[:, 2].sum() == gold


def test_more_tokens_than_the_encoder_has_positions(tiny_bert):
    schema = Schema("ner", ("PER",), vocab_size=300, max_tokens=129)
    with pytest.raises(
        ValueError, match=r"has 128 positions, data\.max_tokens is 129: lower it by 1"
    ):
        build_module(TextOnly, schema, tiny_bert)
    build_module(TextOnly, replace(schema, max_tokens=128), tiny_bert)


def test_a_batch_of_the_other_task_is_refused_by_name(demo_data, tiny_bert):
    entities, relations = demo_data("ner", tiny_bert), demo_data("re", tiny_bert)
    module = build(relations, tiny_bert)
    with pytest.raises(ValueError, match="set up for the task re"):
        module.training_step(make_batch(entities, entities.instances["train"][:2]), 0)
    module = build(entities, tiny_bert)
    with pytest.raises(ValueError, match="set up for the task ner"):
        module.training_step(make_batch(relations, relations.instances["train"][:2]), 0)


def test_constructor_arguments_are_remembered_however_they_were_given(demo_data, tiny_bert):
    schema = demo_data("ner", tiny_bert).schema
    module = TextOnly(schema, tiny_bert, False, dropout=0.3)
    assert module.init_args == {
        "schema": schema,
        "text_encoder": tiny_bert,
        "pretrained": False,
        "dropout": 0.3,
    }
    module = RAP(schema, "test_resnet", 2, text_encoder=tiny_bert, pretrained=False)
    assert module.init_args["num_fusion_layers"] == 2
    assert module.init_args["vision_backbone"] == "test_resnet"
