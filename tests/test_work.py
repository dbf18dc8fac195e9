"""A guard over how much work a training step does: it counts, it does not clock."""

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
from mmie.data import MultimodalDataModule


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pictures", ["some", "none"])
def test_no_step_waits_for_the_device(name, task, pictures, demo_data, request):
    """What reads a value back (``.item()``, a mask as an index) cannot run on tensors that have no values."""
    case = METHODS[name]
    encoder = request.getfixturevalue(case.encoder)
    data = demo_data(task, encoder)
    module = build_module(case.method, data.schema, encoder, **case.arguments).train()
    module.log = module.log_dict = lambda *_, **__: None
    batch = make_batch(data, distinct_instances(data.instances["train"], 8))
    batch = (batch if pictures == "some" else batch_without_views(batch)).to("cpu")
    with FakeTensorMode(allow_non_fake_inputs=True):
        module.training_step(batch, 0).backward()


def test_the_guard_sees_what_waits():
    values = torch.rand(4)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with pytest.raises(DataDependentOutputException):
            values.sum().item()
        with pytest.raises(DynamicOutputShapeException):
            values[values > 0.5]


@pytest.mark.parametrize("name", METHODS)
def test_a_compiled_step_is_traced_once_for_all_lengths(name, demo_data, request, monkeypatch):
    """With a compiler that only traces: the graphs are what is counted."""
    case = METHODS[name]
    encoder = request.getfixturevalue(case.encoder)
    data = demo_data("ner", encoder)
    graphs = []
    trace = torch.compile

    def compiler(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, dynamic: trace(function, dynamic=dynamic, backend=compiler),
    )
    torch._dynamo.reset()
    module = build_module(case.method, data.schema, encoder, compile=True, **case.arguments).train()
    module.log = module.log_dict = lambda *_, **__: None
    posts = sorted(data.instances["train"], key=len)
    counts = []
    for start, count in ((0, 8), (8, 7), (20, 8), (40, 8)):
        loss = module.training_step(make_batch(data, posts[start : start + count]).to("cpu"), 0)
        loss.backward()
        counts.append(len(graphs))
    assert loss.isfinite()
    assert counts[0] > 0
    assert counts[-1] == counts[-2]


def test_padding_is_little(demo_data, tiny_bert):
    data = demo_data("ner", tiny_bert)
    batches = list(data.train_dataloader())
    computed = sum(batch.attention_mask.numel() for batch in batches)
    assert computed / sum(int(batch.attention_mask.sum()) for batch in batches) <= 1.15


@pytest.mark.parametrize(("corpus", "task"), [("Twitter2017", "ner"), ("MNRE", "re")])
def test_padding_of_real_text_is_little(corpus, task, shared_data, tiny_bert):
    data = MultimodalDataModule(
        getattr(mmie.data, corpus)(shared_data / corpus.lower()),
        task,
        tokenizer=tiny_bert,
        pictures="none",
    )
    data.setup("fit")
    lengths = [len(instance) for instance in data.instances["train"]]
    sampler = data.train_dataloader().sampler
    computed = sum(len(numbers) * max(lengths[n] for n in numbers) for _, numbers in sampler)
    assert computed / sum(lengths) <= 1.15
