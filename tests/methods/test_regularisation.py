"""Losses of regularisation against literal passes of the same batch."""

import pytest
import torch
from helpers.methods import build_data, build_module, distinct_instances, make_batch
from torch import nn

from mmie.methods import DGHC, IMM, RAP, HVPNet, MLNet, MLNetPretraining, RSRNeT, TextOnly
from mmie.methods.regularisation import (
    Regularisation,
    adversarial_changes,
    changed_outputs,
    recorded_outputs,
)

SMALL = {"vision_backbone": "test_resnet"}
METHODS = {
    DGHC: SMALL,
    HVPNet: SMALL,
    IMM: {},
    MLNet: SMALL,
    RAP: {**SMALL, "num_fusion_layers": 1},
    RSRNeT: SMALL,
    TextOnly: {},
}


@pytest.fixture(scope="module", params=["ner", "re"])
def data(request, demo_root, tiny_bert):
    return build_data(demo_root, request.param, tiny_bert)


@pytest.fixture(scope="module")
def batch(data):
    return make_batch(data, distinct_instances(data.instances["train"], 4))


def losses_of(module, batch, **weights):
    """Compute the losses of a training step after a seed."""
    torch.manual_seed(7)
    embedding = module.text.model.get_input_embeddings()
    return Regularisation(**weights).losses(module.encode, module.head, embedding, batch)


def literal_pass(module, batch):
    """Encode the batch and return states and loss, with the next random numbers."""
    states = module.encode(batch).states
    return states, module.head.loss(states, batch).mean()


def test_without_options_there_is_one_pass(data, batch, tiny_bert):
    module = build_module(TextOnly, data.schema, tiny_bert).train()
    losses = losses_of(module, batch)
    torch.manual_seed(7)
    assert list(losses) == ["task"]
    assert losses["task"] == literal_pass(module, batch)[1]


def test_r_drop_is_half_of_the_papers_equation_4(data, batch, tiny_bert):
    """L = -log P1(y|x) - log P2(y|x) + alpha / 2 [D(P1 || P2) + D(P2 || P1)]."""
    module = build_module(TextOnly, data.schema, tiny_bert, dropout=0.0).train()
    alpha = 3.0
    losses = losses_of(module, batch, r_drop=alpha)
    torch.manual_seed(7)
    (first, nll_1), (second, nll_2) = literal_pass(module, batch), literal_pass(module, batch)
    symmetric = module.head.divergence(first, second, batch).mean()
    assert symmetric > 0
    total = losses["task"] + losses["r_drop"]
    torch.testing.assert_close(total, (nll_1 + nll_2 + alpha / 2 * symmetric) / 2)


def test_dropout_samples_average_the_loss_over_masks_of_the_head(data, batch, tiny_bert):
    module = build_module(TextOnly, data.schema, tiny_bert, dropout=0.5).train()
    losses = losses_of(module, batch, dropout_samples=3)
    torch.manual_seed(7)
    states = module.encode(batch).states
    samples = torch.stack([module.head.loss(states, batch).mean() for _ in range(3)])
    assert samples.unique().numel() == 3
    torch.testing.assert_close(losses["task"], samples.mean())


def test_adversarial_loss_is_that_of_embeddings_moved_along_their_gradient(data, batch, tiny_bert):
    """r_adv = epsilon g / ||g||, g = gradient of L, for the concatenated embeddings of a post."""
    module = build_module(TextOnly, data.schema, tiny_bert)  # in eval mode, without dropout
    epsilon = 0.1
    losses = losses_of(module, batch, adversarial=epsilon)
    embedding = module.text.model.get_input_embeddings()
    outputs = []
    hook = embedding.register_forward_hook(lambda module, args, out: outputs.append(out))
    _, clean = literal_pass(module, batch)
    hook.remove()
    (gradient,) = torch.autograd.grad(clean, outputs)
    changes = torch.stack([epsilon * row / row.norm() for row in gradient])
    hook = embedding.register_forward_hook(lambda module, args, out: out + changes)
    _, moved = literal_pass(module, batch)
    hook.remove()
    torch.testing.assert_close(losses["task"], clean)
    torch.testing.assert_close(losses["adversarial"], moved)
    assert moved > clean


def test_changes_have_the_norm_epsilon_and_follow_the_calls():
    embedding = nn.Embedding(5, 3)
    ids = torch.tensor([[0, 1], [2, 2]])
    with recorded_outputs(embedding) as embedded:
        loss = embedding(ids).square().sum() + embedding(ids[:1]).sum()
    changes = adversarial_changes(loss, embedded, 0.5)
    assert [change.flatten(1).norm(dim=1).tolist() for change in changes] == [
        pytest.approx([0.5, 0.5]),
        pytest.approx([0.5]),
    ]
    with changed_outputs(embedding, changes):
        first, second = embedding(ids), embedding(ids[:1])
    torch.testing.assert_close(first, embedded[0] + changes[0])
    torch.testing.assert_close(second, embedded[1] + changes[1])
    assert embedding(ids).equal(embedded[0])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_with_all_losses(data, batch, tiny_bert, method):
    module = build_module(method, data.schema, tiny_bert, **METHODS[method]).train()
    losses = losses_of(module, batch, r_drop=1.0, adversarial=0.5, dropout_samples=2)
    assert {"task", "r_drop", "adversarial"} <= losses.keys()
    torch.stack(list(losses.values())).sum().backward()
    assert torch.stack(list(losses.values())).isfinite().all()
    gradient = module.text.model.get_input_embeddings().weight.grad
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    "weights", [{"r_drop": -1.0}, {"adversarial": -0.1}, {"dropout_samples": 0}]
)
def test_weights_out_of_range_are_refused(weights):
    with pytest.raises(ValueError, match="must be 0 or more"):
        Regularisation(**weights)


def test_losses_that_do_not_go_together_are_refused(data, tiny_bert):
    with pytest.raises(ValueError, match="set freeze_text and compile to false"):
        build_module(TextOnly, data.schema, tiny_bert, adversarial=1.0, freeze_text=True)
    with pytest.raises(ValueError, match="losses of its own"):
        build_module(
            MLNetPretraining,
            data.schema,
            tiny_bert,
            vision_backbone="test_resnet",
            r_drop=1.0,
        )


def test_label_smoothing_belongs_to_relations(data, tiny_bert):
    if data.schema.task == "ner":
        with pytest.raises(ValueError, match="label_smoothing is for relations"):
            build_module(TextOnly, data.schema, tiny_bert, label_smoothing=0.1)
    else:
        module = build_module(TextOnly, data.schema, tiny_bert, label_smoothing=0.1)
        assert module.head.label_smoothing == 0.1
