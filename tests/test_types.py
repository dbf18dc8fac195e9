"""Batches: their masks, and copies of all their tensors."""

from dataclasses import fields

import torch
from helpers.methods import distinct_instances, instance_without_views, make_batch
from torch import Tensor

from mmie.types import Batch, Prediction


def tensor_dtypes(batch: Batch) -> dict[str, torch.dtype]:
    """Return the type of every tensor of a batch by its name."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    values.update(batch.features)
    return {name: value.dtype for name, value in values.items() if isinstance(value, Tensor)}


def test_every_tensor_is_copied_to_the_device(demo_data, tiny_bert):
    data = demo_data("re", tiny_bert)
    instances = distinct_instances(data.instances["train"], 2)
    batch = make_batch(data, instances, features={"summary": torch.ones(2, 3)})
    copy = batch.to("meta")
    assert tensor_dtypes(copy) == {**tensor_dtypes(batch), "view_index": torch.long}
    for field in fields(copy):
        value = getattr(copy, field.name)
        if isinstance(value, Tensor):
            assert value.device.type == "meta", field.name
        elif field.name != "features":
            assert value == getattr(batch, field.name)
    assert copy.features["summary"].device.type == "meta"
    assert batch.view_index is None
    assert batch.input_ids.device.type == "cpu"


def test_indices_of_readable_views_are_computed_before_the_copy(demo_data, tiny_bert):
    data = demo_data("ner", tiny_bert)
    first, second = distinct_instances(data.instances["train"], 2)
    batch = make_batch(data, [instance_without_views(first), second])
    num_views = batch.view_mask.shape[1]
    expected = [num_views + view for view, file in enumerate(second.views) if file is not None]
    assert batch.readable.tolist() == expected
    assert batch.to("cpu").view_index.tolist() == expected
    assert batch.to("cpu").readable is not None


def test_the_mask_of_the_text_leaves_out_special_tokens_and_padding(demo_data, tiny_bert):
    data = demo_data("ner", tiny_bert)
    instances = sorted(data.instances["train"], key=len)
    batch = make_batch(data, [instances[0], instances[-1]])
    assert len(batch) == 2
    expected = []
    for row in batch.token_words.tolist():
        expected.append([word >= 0 for word in row])
    assert batch.text_mask.tolist() == expected
    assert not batch.text_mask[:, 0].any()  # [CLS]
    assert not batch.text_mask[~batch.attention_mask].any()


def test_a_prediction_has_nothing_to_move():
    prediction = Prediction("7")
    assert prediction.to("meta") is prediction
