"""Scores of long posts in windows, compared with those of their merged predictions."""

import pytest
import torch
from helpers.methods import build_data, build_module, build_trainer, make_batch, perturb
from lightning.pytorch import Callback

from mmie.data.long_posts import merge_windows
from mmie.methods import TextOnly
from mmie.methods.window_scores import WindowEntities
from mmie.metrics import SpanF1
from mmie.metrics.scores import micro
from mmie.metrics.spans import span_counts
from mmie.training.prediction_writer import group_windows
from mmie.types import Entity, Prediction

pytestmark = pytest.mark.filterwarnings("ignore:.*in eval mode", "ignore:.*isinstance.treespec")


@pytest.fixture(scope="module")
def data(demo_root, tiny_bert):
    """Data module of posts that are read in windows."""
    return build_data(demo_root, "ner", tiny_bert, long="windows", max_tokens=10, eval_batch_size=3)


class Collected(Callback):
    """Callback that keeps the predictions of a test by index."""

    def __init__(self):
        self.predictions = {}

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for index, prediction in zip(batch.index.tolist(), outputs["predictions"], strict=True):
            self.predictions[index] = prediction


def merged_counts(data, predictions):
    """Count the merged predictions of whole posts."""
    instances = data.instances["test"]
    predicted, gold = [], []
    for indices in group_windows(instances):
        windows = [instances[index].window for index in indices]
        own = [predictions[index] for index in indices]
        if windows[0] is None:
            predicted.append(own[0].entities)
            gold.append(instances[indices[0]].post.entities)
        else:
            predicted.append(merge_windows(windows, own, "").entities)
            gold.append(windows[0].post.entities)
    return span_counts(predicted, gold, data.schema.labels)


def test_an_entity_of_two_windows_counts_once(data):
    instances = data.instances["test"]
    first, second = next(group for group in group_windows(instances) if len(group) > 1)[:2]
    border = instances[second].window.core_start
    wide = Entity(border - 2, border + 1, "PER")  # its middle word belongs to the first window
    narrow = Entity(border, border + 1, "LOC")
    found = {first: (wide, 0.25), second: (narrow, 0.75)}
    metric, collected = SpanF1(data.schema.labels), WindowEntities()
    for index in (second, first):  # batches have any order
        entity, probability = found[index]
        window = instances[index].window
        own = Entity(entity.start - window.start, entity.end - window.start, entity.type)
        batch = make_batch(data, [instances[index]] * 2, index=torch.tensor([index, index]))
        batch.counted = torch.tensor([True, False])
        batch.entities = ((own,),) * 2
        prediction = Prediction("", (own,), probabilities=(probability,))
        metric.update([prediction.entities], [batch.entities[0]])
        collected.collect(batch, [prediction] * 2)
    assert metric.counts.sum(0).tolist() == [2, 2, 2]
    collected.retract_overlaps(metric)
    assert metric.counts.sum(0).tolist() == [1, 1, 2]
    by_type = dict(zip(data.schema.labels, metric.counts.tolist(), strict=False))
    assert (by_type["PER"], by_type["LOC"]) == ([0, 0, 1], [1, 1, 1])
    collected.retract_overlaps(metric)  # nothing is left for the next scores
    assert metric.counts.sum(0).tolist() == [1, 1, 2]


def test_scores_are_those_of_the_merged_posts(data, tiny_bert, tmp_path):
    module = perturb(build_module(TextOnly, data.schema, tiny_bert, seed=3))
    with torch.no_grad():
        module.head.emission.weight.mul_(8)
        module.head.emission.bias[0] -= 3
    counted = torch.zeros(len(data.schema.labels) + 1, 3, dtype=torch.int64)
    collected = Collected()
    trainer = build_trainer(tmp_path, callbacks=[collected])
    (scores,) = trainer.test(module, data.test_dataloader(), verbose=False)
    for index, prediction in collected.predictions.items():
        gold = data.instances["test"][index].post.entities
        counted += span_counts([prediction.entities], [gold], data.schema.labels)
    merged = merged_counts(data, collected.predictions)
    assert merged[:, 1].sum() < counted[:, 1].sum()  # some entities overlap
    assert scores["test/f1"] == pytest.approx(micro(merged).f1)
    assert scores["test/precision"] == pytest.approx(micro(merged).precision)
    (validated,) = trainer.validate(module, data.test_dataloader(), verbose=False)
    assert validated["val/f1"] == scores["test/f1"]
