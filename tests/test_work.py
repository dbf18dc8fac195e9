"""Amount of work in a training step: counts of operations, not times."""

import pytest
import torch
from helpers.methods import batch_without_views, build_module, distinct_instances, make_batch
from test_contract import METHODS, TASKS
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

import mmie.data
from mmie.blocks.vision import VisualBackbone
from mmie.data import MultimodalDataModule

pytestmark = pytest.mark.slow

LARGEST_SHARE = 1.15
"""Largest number of computed tokens for each real one."""


def build_training_module(case, data, encoder, **arguments):
    """Build a method in train mode that logs nothing."""
    module = build_module(case.method, data.schema, encoder, **arguments, **case.arguments).train()
    module.log = module.log_dict = lambda *_, **__: None
    return module


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pictures", ["some", "none"])
def test_training_step_does_not_synchronise_with_the_device(
    name, task, pictures, demo_data, request
):
    """Operations that read a value back, such as ``.item()``, fail on tensors without values."""
    case = METHODS[name]
    encoder = request.getfixturevalue(case.encoder)
    data = demo_data(task, encoder)
    module = build_training_module(case, data, encoder)
    batch = make_batch(data, distinct_instances(data.instances["train"], 8))
    if pictures == "none":
        batch = batch_without_views(batch)
    batch = batch.to("cpu")
    for part in module.modules():
        if isinstance(part, VisualBackbone):
            part._fast_model()  # made once, before the first step of a frozen backbone
    with FakeTensorMode(allow_non_fake_inputs=True):
        module.training_step(batch, 0).backward()


def test_fake_tensors_reject_synchronisation():
    values = torch.rand(4)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with pytest.raises(DataDependentOutputException):
            values.sum().item()
        with pytest.raises(DynamicOutputShapeException):
            values[values > 0.5]


@pytest.mark.parametrize("name", METHODS)
def test_compiled_step_is_traced_once_for_all_lengths(name, demo_data, request, monkeypatch):
    # the compiler only traces, and the test counts its graphs
    case = METHODS[name]
    encoder = request.getfixturevalue(case.encoder)
    data = demo_data("ner", encoder)
    graphs = []

    def compiler(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def trace_only(function, dynamic):
        return compile_function(function, dynamic=dynamic, backend=compiler)

    compile_function = torch.compile
    monkeypatch.setattr(torch, "compile", trace_only)
    torch._dynamo.reset()
    module = build_training_module(case, data, encoder, compile=True)
    instances = sorted(data.instances["train"], key=len)
    counts = []
    for start, count in ((0, 8), (8, 7), (20, 8), (40, 8)):
        batch = make_batch(data, instances[start : start + count]).to("cpu")
        loss = module.training_step(batch, 0)
        loss.backward()
        counts.append(len(graphs))
    assert loss.isfinite()
    assert counts[0] > 0
    assert counts[-1] == counts[-2]


def test_share_of_padding_is_small(demo_data, tiny_bert):
    data = demo_data("ner", tiny_bert)
    batches = list(data.train_dataloader())
    computed = sum(batch.attention_mask.numel() for batch in batches)
    real = sum(int(batch.attention_mask.sum()) for batch in batches)
    assert computed / real <= LARGEST_SHARE


@pytest.mark.parametrize(("corpus", "task"), [("Twitter2017", "ner"), ("MNRE", "re")])
def test_share_of_padding_in_real_text_is_small(corpus, task, shared_data, tiny_bert):
    data = MultimodalDataModule(
        getattr(mmie.data, corpus)(shared_data / corpus.lower()),
        task,
        tokenizer=tiny_bert,
        pictures="none",
    )
    data.setup("fit")
    lengths = [len(instance) for instance in data.instances["train"]]
    computed = 0
    for draw in data.train_dataloader().sampler:
        computed += len(draw.indices) * max(lengths[index] for index in draw.indices)
    assert computed / sum(lengths) <= LARGEST_SHARE
