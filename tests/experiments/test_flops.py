"""Operations are those of the formulas, and rates are those of products."""

import pytest
import torch
from torch.nn import functional

from mmie.experiments.flops import count_flops, measure_matmul_rate

BATCH, HEADS, QUERIES, KEYS, SIZE = 2, 3, 5, 7, 4


def test_a_linear_map_and_its_gradients():
    states = torch.rand(5, 3, requires_grad=True)
    weights = torch.rand(4, 3, requires_grad=True)
    with count_flops() as counter:
        loss = functional.linear(states, weights).sum()
        forward = counter.get_total_flops()
        loss.backward()
    assert forward == 2 * 5 * 3 * 4
    assert counter.get_total_flops() == 3 * forward


def test_attention_on_a_cpu_is_counted():
    queries = torch.rand(BATCH, HEADS, QUERIES, SIZE, requires_grad=True)
    keys = torch.rand(BATCH, HEADS, KEYS, SIZE, requires_grad=True)
    with count_flops() as counter:
        attended = functional.scaled_dot_product_attention(queries, keys, keys)
        forward = counter.get_total_flops()
        attended.sum().backward()
    assert forward == 2 * 2 * BATCH * HEADS * QUERIES * KEYS * SIZE
    assert counter.get_total_flops() == pytest.approx(3.5 * forward)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_rate_of_a_product_is_that_of_a_machine(precision):
    rate = measure_matmul_rate(torch.device("cpu"), precision, size=64)
    assert 1e6 < rate < 1e15
