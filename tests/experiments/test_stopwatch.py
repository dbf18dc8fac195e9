"""The stopwatch gives every second of a divided step to one part, by a clock that tests set."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmie.experiments import stopwatch
from mmie.experiments.stopwatch import PARTS, Stopwatch


class Head(nn.Module):
    def loss(self, states):
        return states.sum()


class Method(nn.Module):
    """A method with a text encoder, a layer of its own and a head."""

    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.text = nn.Sequential(nn.Linear(2, 2))
        self.fusion = nn.Linear(2, 2)
        self.head = Head()


@pytest.fixture
def clock(monkeypatch):
    """A clock that is one second later at each look."""

    class Clock:
        seconds = 0.0

        def tick(self):
            self.seconds += 1.0
            return self.seconds

    clock = Clock()
    monkeypatch.setattr(stopwatch.time, "perf_counter", clock.tick)
    return clock


def run_step(watch, method, step):
    """Run the hooks of one training step as Lightning does."""
    trainer = SimpleNamespace(global_step=step)
    mask = torch.tensor([[True, True], [True, False]])
    watch.on_train_batch_start(trainer, method, SimpleNamespace(attention_mask=mask), step)
    loss = method.head.loss(method.fusion(method.text(torch.rand(2, 2))))
    watch.on_before_zero_grad(trainer, method, None)
    watch.on_before_backward(trainer, method, loss)
    watch.on_after_backward(trainer, method)
    trainer.global_step += 1
    watch.on_train_batch_end(trainer, method)


def test_steps_are_measured_after_the_warm_up_and_then_divided(clock):
    method = Method()
    watch = Stopwatch(method, num_steps=2, num_warmup=1)
    with watch.hooked():
        for step in range(5):
            run_step(watch, method, step)
    assert len(watch.steps) == len(watch.parts) == 2
    assert not watch.flops
    assert (watch.tokens, watch.real_tokens) == (20, 15)
    assert watch.first_step == 1.0


def test_the_parts_of_a_step_add_up(clock):
    method = Method()
    watch = Stopwatch(method, num_steps=1, num_warmup=1)
    with watch.hooked():
        for step in range(2):
            run_step(watch, method, step)
        before = watch._step_end
        run_step(watch, method, 2)
    [parts] = watch.parts
    assert tuple(parts) == PARTS
    assert parts["vision"] == 0
    # The text encoder is a container of one layer: its time counts once.
    expected = {"data": 1, "text": 3, "head": 1, "backward": 1}
    assert {name: parts[name] for name in expected} == expected
    assert sum(parts.values()) == watch._counted_until - before


def test_operations_are_counted_after_the_divided_steps(clock):
    method = Method()
    watch = Stopwatch(method, num_steps=1, num_warmup=1)
    with watch.hooked():
        for step in range(4):
            run_step(watch, method, step)
    assert len(watch.steps) == len(watch.parts) == len(watch.flops) == 1
    # two inputs by 2 x 2 weights, a product and a sum each
    expected = {**dict.fromkeys(PARTS, 0.0), "text": 16.0, "fusion": 16.0}
    assert watch.flops == [expected]


def test_hooks_are_removed(clock):
    method = Method()
    watch = Stopwatch(method, num_steps=1, num_warmup=1)
    with watch.hooked():
        assert method.text._forward_hooks
        assert "loss" in vars(method.head)
    assert "loss" not in vars(method.head)
    assert not method.text._forward_hooks
    assert not method.text._forward_pre_hooks
