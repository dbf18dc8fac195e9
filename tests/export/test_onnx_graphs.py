"""Modules that are traced compute a method's scores, and their examples have the right shapes."""

import pytest
import torch
from helpers.methods import make_batch

from mmie.export.onnx_graphs import (
    ModelGraph,
    VisionGraph,
    model_axes,
    model_inputs,
    vision_inputs,
)
from mmie.methods import IMM
from mmie.methods.loading import load_method

BATCH, TOKENS, WORDS = 3, 12, 5


@pytest.mark.parametrize("task", ["ner", "re"])
def test_the_graph_computes_the_heads_scores(task, random_pair, demo_data, tiny_bert):
    data, method = demo_data(task, tiny_bert), load_method(random_pair[task])
    batch = make_batch(data, data.instances["test"][:4])
    names = list(model_inputs(method, BATCH, TOKENS, WORDS))
    with torch.no_grad():
        rows = method.vision.flatten(method.vision(batch.pixels[batch.view_mask]))
        features = rows.new_zeros(*batch.view_mask.shape, rows.shape[1])  # (batch, views, width)
        features[batch.view_mask] = rows
        tensors = [features if name == "features" else getattr(batch, name) for name in names]
        scores = ModelGraph(method, names)(*tensors)
        states = method.encode(batch).states
        head = method.head
        expected = head.emissions(states, batch) if task == "ner" else head.logits(states, batch)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", ["ner", "re"])
def test_examples_are_valid_inputs(task, random_pair):
    method = load_method(random_pair[task])
    inputs = model_inputs(method, BATCH, TOKENS, WORDS, seed=1)
    again = model_inputs(method, BATCH, TOKENS, WORDS, seed=1)
    assert all(torch.equal(inputs[name], again[name]) for name in inputs)
    assert inputs["attention_mask"].sum(dim=1).tolist() == [12, 9, 6]
    assert not inputs["input_ids"][~inputs["attention_mask"]].any()
    assert (inputs["token_words"][~inputs["attention_mask"]] == -1).all()
    assert not inputs["features"][~inputs["view_mask"]].any()
    with torch.no_grad():
        scores = ModelGraph(method, list(inputs))(*inputs.values())
    assert scores.shape[0] == BATCH
    assert scores.isfinite().all()
    axes = model_axes(method.schema.max_tokens)
    for name, tensor in inputs.items():
        for axis, dim in axes[name].items():
            sizes = {"batch": BATCH, "tokens": TOKENS, "words": WORDS}
            assert tensor.shape[axis] == sizes[dim.__name__]


def test_a_method_without_backbone_gets_pixels(save_checkpoint):
    method = load_method(save_checkpoint(IMM, "ner", clip=None, patch_embedding=None))
    inputs = model_inputs(method, BATCH, TOKENS, WORDS)
    size = method.schema.image_size
    assert "features" not in inputs
    assert inputs["pixels"].shape == (BATCH, 1 + method.schema.num_objects, 3, size, size)
    assert inputs["pixels"].dtype == torch.uint8
    with torch.no_grad():
        assert ModelGraph(method, list(inputs))(*inputs.values()).isfinite().all()


def test_the_vision_graph_gives_a_row_for_each_picture(random_pair):
    vision = load_method(random_pair["ner"]).vision
    for count, inputs in zip((2, 1), vision_inputs(vision, (2, 1)), strict=True):
        assert inputs["pixels"].dtype == torch.uint8
        with torch.no_grad():
            assert VisionGraph(vision)(**inputs).shape == (count, vision.width)
