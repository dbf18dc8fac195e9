"""Predictions with exchanged pictures against batches that are built by hand."""

from dataclasses import replace

import pytest
import torch
from helpers.methods import build_data, build_module, perturb

from mmie.data import MultimodalDataModule
from mmie.data.batching import Collator
from mmie.experiments.picture_exchange import (
    ExchangeError,
    exchange_views,
    index_pictures,
    predict_exchanged,
)
from mmie.methods import HVPNet, TextOnly
from mmie.metrics import ExchangeBlocks

pytestmark = pytest.mark.slow


@pytest.fixture
def data(demo_root, tiny_bert) -> MultimodalDataModule:
    """Data module that a test may change."""
    return build_data(demo_root, "ner", tiny_bert)


def build_hvpnet(data, encoder, **arguments):
    """Build an HVPNet that predicts many entities, which depend on the picture."""
    arguments = {"vision_backbone": "test_resnet", **arguments}
    module = perturb(build_module(HVPNet, data.schema, encoder, **arguments))
    for seed in range(1, 40):
        perturb(module, seed)
    with torch.no_grad():
        module.head.emission.weight.mul_(30)
    return module


@pytest.mark.parametrize("freeze_vision", [True, False])
@pytest.mark.parametrize("cached", [True, False])
def test_every_exchange_equals_a_prediction_by_hand(
    data, tiny_bert, tmp_path, cached, freeze_vision
):
    module = build_hvpnet(data, tiny_bert, freeze_vision=freeze_vision)
    module.train()
    folder = tmp_path if cached else None
    exchanged = predict_exchanged(module, data, "test", others=3, folder=folder)
    assert module.training
    instances = data.instances["test"]
    owner = {picture: index for index, picture in enumerate(exchanged.pictures)}
    assert len(owner) == len(instances) == 16
    module.eval()
    collator = Collator(module.schema, data.tokenizer.pad_id, data.transform)
    differs = 0
    for shift, predictions in enumerate(exchanged.predictions):
        partners = exchanged.blocks.partners(shift)
        for index, prediction in enumerate(predictions):
            giver = instances[owner[partners[exchanged.pictures[index]]]]
            copy = replace(instances[index], views=giver.views)
            with torch.no_grad():
                (expected,) = module(collator([copy], [0]))
            assert prediction == expected
            differs += expected != exchanged.predictions[0][index]
    assert len(exchanged.predictions) == 4
    assert differs > 0


def test_posts_with_equal_pictures_exchange_them_together(data):
    instances = list(data.instances["test"][:6])
    first = instances[0].views
    instances[1] = replace(instances[1], views=first)
    instances[2] = replace(instances[2], views=(first[0], *[None] * (len(first) - 1)))
    instances[3] = replace(instances[3], views=(None,) * len(first))
    pictures = index_pictures(instances, data.transform.max_pixels)
    assert pictures == [0, 0, 0, None, 1, 2]
    blocks = ExchangeBlocks(((0, 1, 2),))
    assert exchange_views(instances, pictures, blocks, 0) == instances
    exchanged = exchange_views(instances, pictures, blocks, 1)
    assert [None if copy is None else copy.post for copy in exchanged] == [
        *(instance.post for instance in instances[:3]),
        None,
        *(instance.post for instance in instances[4:]),
    ]
    views = [copy.views for copy in exchanged if copy is not None]
    fourth, fifth = instances[4].views, instances[5].views
    assert views[:4] == [fourth, fourth, fourth, fifth]
    assert views[4] == first
    smaller = ExchangeBlocks(((0, 1), (2,)))
    copies = exchange_views(instances, pictures, smaller, 1)
    assert [copy is None for copy in copies] == [False, False, False, True, False, True]


def test_a_method_without_pictures_is_refused(data, tiny_bert):
    module = build_module(TextOnly, data.schema, tiny_bert)
    with pytest.raises(ExchangeError, match="TextOnly reads no pictures"):
        predict_exchanged(module, data, "test")


def test_a_split_with_too_few_pictures_is_refused(data, tiny_bert):
    views = data.instances["test"][0].views
    for instance in data.instances["test"]:
        instance.views = views
    with pytest.raises(ExchangeError, match="test has 1 different readable pictures"):
        predict_exchanged(build_hvpnet(data, tiny_bert), data, "test")
