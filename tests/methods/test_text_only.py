"""Baseline without images."""

import pytest
import torch
from helpers.methods import build_module, distinct_instances, encode, make_batch

from mmie.methods import TextOnly


@pytest.mark.parametrize("task", ["ner", "re"])
def test_states_are_those_of_the_text_encoder(demo_data, tiny_bert, task):
    data = demo_data(task, tiny_bert)
    module = build_module(TextOnly, data.schema, tiny_bert)
    batch = make_batch(data, distinct_instances(data.instances["train"], 4))
    with torch.no_grad():
        expected = module.text.model(
            batch.input_ids, batch.attention_mask, batch.token_type_ids
        ).last_hidden_state
    torch.testing.assert_close(encode(module, batch), expected)
    assert module.encode(batch).losses == {}


def test_images_are_not_read(demo_data, tiny_bert):
    module = build_module(TextOnly, demo_data("ner", tiny_bert).schema, tiny_bert)
    assert not module.reads_pixels
    assert not module.uses_images
    assert module.feature_specs() == []
