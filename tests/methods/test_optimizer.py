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
    """Steps on posts that use a few more words every time, and some no more."""
    for step in steps:
        optimizer.zero_grad()
        words = torch.tensor([step, step + 2, 7 * step % 20])
        (module["map"](module["words"](words)) ** 2).sum().backward()
        optimizer.step()


@pytest.mark.parametrize(("decay", "sparse"), [(0.0, False), (0.0, True), (0.2, False)])
def test_equals_torchs(decay, sparse):
    ours = make()
    theirs = copy.deepcopy(ours)
    use_sparse_gradients(ours.modules(), sparse)
    run(ours, build(ours, decay), range(STEPS))
    run(theirs, torch.optim.AdamW(groups(theirs, decay)), range(STEPS))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


def test_sparse_gradients_of_one_step_and_of_another_add_up():
    ours = make()
    theirs = copy.deepcopy(ours)
    use_sparse_gradients(ours.modules(), True)
    optimizers = build(ours), torch.optim.AdamW(groups(theirs))
    for module, optimizer in zip((ours, theirs), optimizers, strict=True):
        for batch in ([3, 3, 4], [4, 5, 3]):
            module["map"](module["words"](torch.tensor(batch))).pow(2).sum().backward()
        assert module["words"].weight.grad.is_sparse == (module is ours)
        optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


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


def test_goes_on_from_its_state_as_if_never_stopped():
    whole, parted = make(), make()
    run(whole, build(whole), range(STEPS))
    first = build(parted)
    run(parted, first, range(3))
    second = build(parted)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    run(parted, second, range(3, STEPS))
    for mine, other in zip(parted.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_closure_is_called_and_its_loss_returned():
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
