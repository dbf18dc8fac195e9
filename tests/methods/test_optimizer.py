"""AdamW with moments for the used rows of embeddings only."""

import copy

import pytest
import torch
from torch import nn

from mmie.methods.optimizer import EmbeddingAdamW, use_sparse_gradients

STEPS = 6


def make(rows=20, width=4):
    torch.manual_seed(0)
    return nn.ModuleDict({"words": nn.Embedding(rows, width), "map": nn.Linear(width, 3)})


def groups(module, decay=0.0):
    return [
        {"params": [module["words"].weight], "lr": 0.1, "weight_decay": decay},
        {"params": [*module["map"].parameters()], "lr": 0.01, "weight_decay": 0.1},
    ]


def build(module, decay=0.0):
    return EmbeddingAdamW(groups(module, decay), module.modules())


def run(module, optimizer, steps):
    """Step on posts that use new words every time, and some not again."""
    for step in steps:
        optimizer.zero_grad()
        words = torch.tensor([step, step + 2, 7 * step % 20])
        (module["map"](module["words"](words)) ** 2).sum().backward()
        optimizer.step()


@pytest.mark.parametrize(("decay", "sparse"), [(0.0, False), (0.0, True), (0.2, False)])
def test_steps_equal_those_of_torch(decay, sparse):
    module = make()
    reference = copy.deepcopy(module)
    use_sparse_gradients(module.modules(), sparse)
    run(module, build(module, decay), range(STEPS))
    run(reference, torch.optim.AdamW(groups(reference, decay)), range(STEPS))
    for parameter, expected in zip(module.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-6, atol=1e-7)


def test_sparse_gradients_accumulate():
    sparse = make()
    dense = copy.deepcopy(sparse)
    use_sparse_gradients(sparse.modules(), True)
    optimizers = build(sparse), torch.optim.AdamW(groups(dense))
    for module, optimizer in zip((sparse, dense), optimizers, strict=True):
        for batch in ([3, 3, 4], [4, 5, 3]):
            module["map"](module["words"](torch.tensor(batch))).pow(2).sum().backward()
        assert module["words"].weight.grad.is_sparse == (module is sparse)
        optimizer.step()
    for parameter, expected in zip(sparse.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sparse", [False, True])
def test_keeps_moments_of_used_rows_only(sparse):
    module = make(rows=1000)
    use_sparse_gradients(module.modules(), sparse)
    optimizer = build(module)
    run(module, optimizer, range(STEPS))
    state = optimizer.state[module["words"].weight]
    used = {word for step in range(STEPS) for word in (step, step + 2, 7 * step % 20)}
    assert set(state["rows"].tolist()) == used
    assert state["exp_avg"].shape == state["exp_avg_sq"].shape == (len(used), 4)


def test_loaded_state_continues_exactly():
    whole, parted = make(), make()
    run(whole, build(whole), range(STEPS))
    first = build(parted)
    run(parted, first, range(3))
    second = build(parted)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    run(parted, second, range(3, STEPS))
    for parameter, expected in zip(parted.parameters(), whole.parameters(), strict=True):
        assert torch.equal(parameter, expected)


def test_step_returns_the_loss_of_a_closure():
    module = make()
    optimizer = build(module)
    before = module["words"].weight.clone()

    def closure():
        optimizer.zero_grad()
        loss = module["map"](module["words"](torch.tensor([1]))).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).requires_grad
    assert not torch.equal(before[1], module["words"].weight[1])
    assert torch.equal(before[2:], module["words"].weight[2:])
