"""Attention and pooling against loops and against torch."""

import itertools
import math

import pytest
import torch
from torch import nn

from mmie.blocks.attention import AttentionPooling, MultiHeadAttention, masked_mean, masked_softmax

BATCH, QUERIES, POSITIONS, HEADS, HIDDEN = 3, 4, 5, 2, 6
MASK = torch.tensor(
    [[True, False, True, True, False], [False, False, True, False, False], [False] * 5]
)
EMPTY = 2
"""Row of `MASK` in which all positions are masked."""


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_masked_softmax_equals_loops():
    scores = torch.randn(BATCH, QUERIES, POSITIONS) * 3
    weights = masked_softmax(scores, MASK[:, None, :])
    for row, query, position in itertools.product(range(BATCH), range(QUERIES), range(POSITIONS)):
        total = sum(math.exp(scores[row, query, i]) for i in range(POSITIONS) if MASK[row, i])
        expected = math.exp(scores[row, query, position]) / total if MASK[row, position] else 0.0
        assert weights[row, query, position].item() == pytest.approx(expected, rel=1e-5)
    assert (weights[~MASK[:, None, :].expand_as(weights)] == 0).all()


def test_masked_softmax_over_another_axis():
    scores = torch.randn(POSITIONS, BATCH)
    torch.testing.assert_close(
        masked_softmax(scores, MASK.T, dim=0), masked_softmax(scores.T, MASK).T
    )


def test_masked_softmax_without_masks_is_softmax():
    scores = torch.randn(BATCH, POSITIONS)
    assert torch.equal(masked_softmax(scores, torch.tensor(True)), scores.softmax(-1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_masked_softmax_in_every_dtype(dtype, size):
    scores = (torch.randn(BATCH, POSITIONS) * size).to(dtype)
    weights = masked_softmax(scores, MASK)
    assert weights.dtype == dtype
    assert (weights[~MASK] == 0).all()
    torch.testing.assert_close(
        weights.float().sum(-1), torch.tensor([1.0, 1.0, 0.0]), rtol=0, atol=1e-2
    )


def test_masked_softmax_does_not_depend_on_masked_scores():
    scores = torch.randn(BATCH, POSITIONS)
    huge = scores.masked_fill(~MASK, 1e30)
    assert torch.equal(masked_softmax(huge, MASK), masked_softmax(scores, MASK))


def test_masked_softmax_has_finite_gradients():
    scores = torch.randn(BATCH, POSITIONS, requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        (masked_softmax(scores, MASK) * torch.randn(BATCH, POSITIONS)).sum().backward()
    assert scores.grad.isfinite().all()
    assert (scores.grad[~MASK] == 0).all()
    assert scores.grad[0].ne(0).any()


def test_masked_softmax_gradient_equals_softmax_over_unmasked_positions():
    scores = torch.randn(1, POSITIONS, dtype=torch.float64, requires_grad=True)
    weights, mask = torch.randn(3, dtype=torch.float64), MASK[0]
    (masked_softmax(scores, MASK[:1])[0, mask] * weights).sum().backward()
    unmasked = scores.detach()[0, mask].requires_grad_()
    (unmasked.softmax(-1) * weights).sum().backward()
    torch.testing.assert_close(scores.grad[0, mask], unmasked.grad)


def test_masked_mean_equals_loops():
    states = torch.randn(2, BATCH, POSITIONS, HIDDEN)
    means = masked_mean(states, MASK.expand(2, -1, -1))
    assert means.shape == (2, BATCH, HIDDEN)
    for first, row in itertools.product(range(2), range(BATCH)):
        unmasked = [states[first, row, i] for i in range(POSITIONS) if MASK[row, i]]
        expected = sum(unmasked) / len(unmasked) if unmasked else torch.zeros(HIDDEN)
        torch.testing.assert_close(means[first, row], expected)
    assert (means[:, EMPTY] == 0).all()


def test_masked_mean_gradient():
    states = torch.randn(BATCH, POSITIONS, HIDDEN, requires_grad=True)
    masked_mean(states, MASK).sum().backward()
    shares = torch.tensor([[1 / 3, 0, 1 / 3, 1 / 3, 0], [0, 0, 1, 0, 0], [0] * 5])
    torch.testing.assert_close(states.grad, shares.unsqueeze(-1).expand_as(states))


def test_masked_mean_over_no_positions():
    assert torch.equal(
        masked_mean(torch.zeros(2, 0, HIDDEN), torch.zeros(2, 0).bool()), torch.zeros(2, HIDDEN)
    )


def test_attention_pooling_equals_loops():
    pooling = AttentionPooling(HIDDEN)
    states = torch.randn(BATCH, POSITIONS, HIDDEN) * 2
    pooled = pooling(states, MASK)
    assert pooled.shape == (BATCH, HIDDEN)
    (scorer,) = pooling.score.weight
    for row in range(BATCH):
        unmasked = states[row, MASK[row]]
        expected, total = torch.zeros(HIDDEN), torch.tensor(0.0)
        for state in unmasked:
            weight = torch.exp(scorer @ state)
            expected = expected + weight * state
            total = total + weight
        torch.testing.assert_close(pooled[row], expected / total if len(unmasked) else expected)
    assert (pooled[EMPTY] == 0).all()


def assert_gradients_finite(module, *inputs):
    for tensor in (*module.parameters(), *inputs):
        assert tensor.grad.isfinite().all()


def test_attention_pooling_gradients_are_finite_where_all_is_masked():
    pooling = AttentionPooling(HIDDEN)
    states = torch.randn(BATCH, POSITIONS, HIDDEN, requires_grad=True)
    pooling(states, MASK).square().sum().backward()
    assert_gradients_finite(pooling, states)
    assert (states.grad[~MASK] == 0).all()
    assert states.grad[MASK].ne(0).any(-1).all()


def build_equal_attentions():
    """Build our multi-head attention and torch's with the same weights."""
    ours = MultiHeadAttention(HIDDEN, HEADS)
    reference = nn.MultiheadAttention(HIDDEN, HEADS, batch_first=True)
    for parameter in ours.parameters():
        parameter.data.normal_(std=0.7)
    inputs = (ours.query, ours.key, ours.value)
    reference.in_proj_weight.data = torch.cat([layer.weight.data for layer in inputs])
    reference.in_proj_bias.data = torch.cat([layer.bias.data for layer in inputs])
    reference.out_proj.load_state_dict(ours.output.state_dict())
    return ours, reference


def test_multi_head_attention_equals_torch():
    ours, reference = build_equal_attentions()
    states, memory = torch.randn(BATCH, QUERIES, HIDDEN), torch.randn(BATCH, POSITIONS, HIDDEN)
    rows = MASK.any(1)
    result = ours(states, memory, MASK)
    expected, _ = reference(states[rows], memory[rows], memory[rows], key_padding_mask=~MASK[rows])
    torch.testing.assert_close(result[rows], expected, rtol=1e-4, atol=1e-5)
    assert (result[EMPTY] == 0).all()


def test_multi_head_attention_gradients_equal_torch():
    ours, reference = build_equal_attentions()
    states = torch.randn(1, QUERIES, HIDDEN, requires_grad=True)
    memory = torch.randn(1, POSITIONS, HIDDEN, requires_grad=True)
    weights, mask = torch.randn(1, QUERIES, HIDDEN), MASK[:1]
    gradients = torch.autograd.grad((ours(states, memory, mask) * weights).sum(), (states, memory))
    expected, _ = reference(states, memory, memory, key_padding_mask=~mask)
    references = torch.autograd.grad((expected * weights).sum(), (states, memory))
    for gradient, expected_gradient in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def test_multi_head_attention_equals_loops():
    attention, _ = build_equal_attentions()
    states, memory = torch.randn(BATCH, QUERIES, HIDDEN), torch.randn(BATCH, POSITIONS, HIDDEN)
    result = attention(states, memory, MASK)
    size = HIDDEN // HEADS
    for row, query in itertools.product(range(BATCH), range(QUERIES)):
        unmasked = memory[row, MASK[row]]
        joined = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            query_part = attention.query(states[row, query])[part]
            total, weights = torch.zeros(size), torch.tensor(0.0)
            for vector in unmasked:
                weight = torch.exp(query_part @ attention.key(vector)[part] / math.sqrt(size))
                total = total + weight * attention.value(vector)[part]
                weights = weights + weight
            joined.append(total / weights if len(unmasked) else total)
        expected = attention.output(torch.cat(joined)) if MASK[row].any() else torch.zeros(HIDDEN)
        torch.testing.assert_close(result[row, query], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", [MASK, torch.zeros_like(MASK)], ids=["one row", "all rows"])
def test_multi_head_attention_gradients_are_finite_where_all_is_masked(mask):
    attention = MultiHeadAttention(HIDDEN, HEADS)
    states = torch.randn(BATCH, QUERIES, HIDDEN, requires_grad=True)
    memory = torch.randn(BATCH, POSITIONS, HIDDEN, requires_grad=True)
    attention(states, memory, mask).square().sum().backward()
    assert_gradients_finite(attention, states, memory)
    assert (memory.grad[~mask] == 0).all()
    assert (states.grad[~mask.any(1)] == 0).all()
    assert memory.grad[mask].ne(0).any(-1).all()


def test_multi_head_attention_to_no_positions():
    attention = MultiHeadAttention(HIDDEN, HEADS)
    result = attention(
        torch.randn(BATCH, QUERIES, HIDDEN),
        torch.zeros(BATCH, 0, HIDDEN),
        torch.zeros(BATCH, 0).bool(),
    )
    assert torch.equal(result, torch.zeros(BATCH, QUERIES, HIDDEN))


def test_multi_head_attention_does_not_depend_on_masked_positions():
    attention = MultiHeadAttention(HIDDEN, HEADS)
    states, memory = torch.randn(BATCH, QUERIES, HIDDEN), torch.randn(BATCH, POSITIONS, HIDDEN)
    huge = memory.masked_fill(~MASK.unsqueeze(-1), 1e20)
    assert torch.equal(attention(states, huge, MASK), attention(states, memory, MASK))


@pytest.mark.parametrize("build", [AttentionPooling, lambda size: MultiHeadAttention(size, HEADS)])
def test_under_bfloat16_autocast(build):
    block = build(HIDDEN)
    states = torch.randn(BATCH, POSITIONS, HIDDEN, requires_grad=True)
    arguments = (states, MASK) if isinstance(block, AttentionPooling) else (states, states, MASK)
    expected = block(*arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = block(*arguments)
    torch.testing.assert_close(result.float(), expected, rtol=0.05, atol=0.05)
    assert (result[EMPTY] == 0).all()
    result.float().sum().backward()
    assert_gradients_finite(block, states)
