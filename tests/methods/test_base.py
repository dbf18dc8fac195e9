"""Base class: heads, predictions, arguments and checkpoint content."""

from dataclasses import replace
from inspect import signature

import pytest
import torch
from helpers.methods import (
    build_module,
    distinct_instances,
    encode,
    make_batch,
    training_loss,
)

from mmie.methods import RAP, HVPNet, TextOnly
from mmie.methods.base import full_name
from mmie.types import Schema

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

TINY = {"vision_backbone": "test_resnet"}


@pytest.fixture(params=["ner", "re"])
def data(request, demo_data, tiny_bert):
    return demo_data(request.param, tiny_bert)


@pytest.fixture
def batch(data):
    return make_batch(data, distinct_instances(data.instances["train"], 4))


def test_full_name_of_a_method():
    assert full_name(TextOnly) == "mmie.methods.text_only.TextOnly"


def test_more_tokens_than_the_encoder_has_positions_raise(tiny_bert):
    schema = Schema("ner", ("PER",), vocab_size=300, max_tokens=129)
    with pytest.raises(
        ValueError, match=r"has 128 positions, data\.max_tokens is 129: lower data\.max_tokens by 1"
    ):
        build_module(TextOnly, schema, tiny_bert)
    build_module(TextOnly, replace(schema, max_tokens=128), tiny_bert)


def test_batch_of_the_other_task_raises(demo_data, tiny_bert):
    entities, relations = demo_data("ner", tiny_bert), demo_data("re", tiny_bert)
    module = build_module(TextOnly, relations.schema, tiny_bert)
    with pytest.raises(ValueError, match="set up for the task re"):
        module.training_step(make_batch(entities, entities.instances["train"][:2]), 0)
    module = build_module(TextOnly, entities.schema, tiny_bert)
    with pytest.raises(ValueError, match="set up for the task ner"):
        module.training_step(make_batch(relations, relations.instances["train"][:2]), 0)


def test_predict_adds_probabilities_to_the_predictions_of_forward(data, batch, tiny_bert):
    module = build_module(TextOnly, data.schema, tiny_bert)
    with torch.no_grad():
        predictions = module.predict(batch)
    for plain, prediction in zip(module(batch), predictions, strict=True):
        assert plain == replace(prediction, probabilities=())
        assert len(prediction.probabilities) == len(prediction.entities + prediction.relations)
        assert all(0 <= probability <= 1 for probability in prediction.probabilities)


def test_images_are_used_if_a_feature_or_pixels_are(data, tiny_bert):
    assert not build_module(TextOnly, data.schema, tiny_bert).uses_images
    frozen = build_module(HVPNet, data.schema, tiny_bert, **TINY)
    assert not frozen.reads_pixels
    assert frozen.uses_images
    trained = build_module(HVPNet, data.schema, tiny_bert, freeze_vision=False, **TINY)
    assert trained.reads_pixels
    assert trained.uses_images


def test_set_head_replaces_the_head(data, tiny_bert):
    module = build_module(TextOnly, data.schema, tiny_bert, pooling="cls", dropout=0.4)
    module.set_head(10)
    linear = module.head.emission if data.task == "ner" else module.head.classifier
    assert linear.in_features == 10
    assert module.head.dropout.p == 0.4


def test_representation_has_one_axis_of_words(data, batch, tiny_bert):
    module = build_module(TextOnly, data.schema, tiny_bert)
    representation = module.represent(encode(module, batch), batch)
    if data.task == "ner":
        assert representation.shape == (len(batch), batch.word_mask.shape[1], 64)
    else:
        assert representation.shape == (len(batch), 1, 2 * 64)


def test_pooling_decides_which_states_are_classified(demo_data, tiny_bert):
    data = demo_data("re", tiny_bert)
    batch = make_batch(data, data.instances["train"][:4])
    for pooling, width in (("cls", 64), ("entities", 128)):
        module = build_module(TextOnly, data.schema, tiny_bert, pooling=pooling)
        assert module.head.classifier.in_features == width
        states = encode(module, batch)
        logits = module.head.logits(states, batch)
        for row in range(4):
            pooled_positions = {0} if pooling == "cls" else set(batch.markers[row].tolist())
            for position in range(states.shape[1]):
                changed = states.clone()
                changed[row, position] += 1
                is_changed = not torch.equal(module.head.logits(changed, batch), logits)
                assert is_changed == (position in pooled_positions)


def test_dropout_is_that_of_the_head(data, batch, tiny_bert):
    for dropout in (0.0, 0.6):
        module = build_module(TextOnly, data.schema, tiny_bert, dropout=dropout, freeze_text=True)
        losses = {training_loss(module, batch, seed).item() for seed in range(3)}
        assert len(losses) == (1 if dropout == 0 else 3)


def test_defaults_are_the_papers():
    defaults = {
        name: parameter.default
        for name, parameter in signature(TextOnly.__init__).parameters.items()
    }
    assert defaults["weight_decay"] == 0.01
    assert defaults["warmup_ratio"] == 0.1
    assert defaults["text_lr"] == 3e-5


def test_checkpoint_content_is_plain_and_needs_no_hub(data, tiny_bert):
    module = build_module(RAP, data.schema, tiny_bert, num_fusion_layers=2, **TINY)
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    content = checkpoint["mmie"]
    assert content["method"] == "mmie.methods.rap.RAP"
    init_args = content["init_args"]
    assert init_args["num_fusion_layers"] == 2
    assert init_args["text_encoder"]["hidden_size"] == 64
    assert init_args["vision_backbone"] == "test_resnet"
    assert (init_args["pretrained"], init_args["init_from"]) == (False, None)
