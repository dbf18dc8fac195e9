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
"""The row of `MASK` in which everything is masked."""


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_masked_softmax_equals_loops():
    scores = torch.randn(BATCH, QUERIES, POSITIONS) * 3
    weights = masked_softmax(scores, MASK[:, None, :])
    for row, query, position in itertools.product(range(BATCH), range(QUERIES), range(POSITIONS)):
        total = sum(
            math.exp(scores[row, query, other]) for other in range(POSITIONS) if MASK[row, other]
        )
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


def test_masked_softmax_does_not_see_masked_scores():
    scores = torch.randn(BATCH, POSITIONS)
    loud = scores.masked_fill(~MASK, 1e30)
    assert torch.equal(masked_softmax(loud, MASK), masked_softmax(scores, MASK))


def test_masked_softmax_has_finite_gradients():
    scores = torch.randn(BATCH, POSITIONS, requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        (masked_softmax(scores, MASK) * torch.randn(BATCH, POSITIONS)).sum().backward()
    assert scores.grad.isfinite().all()
    assert (scores.grad[~MASK] == 0).all()
    assert scores.grad[0].ne(0).any()


def test_masked_softmax_gradient_equals_softmax_of_what_is_left():
    scores = torch.randn(1, POSITIONS, dtype=torch.float64, requires_grad=True)
    weights, kept = torch.randn(3, dtype=torch.float64), MASK[0]
    (masked_softmax(scores, MASK[:1])[0, kept] * weights).sum().backward()
    left = scores.detach()[0, kept].requires_grad_()
    (left.softmax(-1) * weights).sum().backward()
    torch.testing.assert_close(scores.grad[0, kept], left.grad)


def test_masked_mean_equals_loops():
    states = torch.randn(2, BATCH, POSITIONS, HIDDEN)
    means = masked_mean(states, MASK.expand(2, -1, -1))
    assert means.shape == (2, BATCH, HIDDEN)
    for first, row in itertools.product(range(2), range(BATCH)):
        kept = [
            states[first, row, position] for position in range(POSITIONS) if MASK[row, position]
        ]
        expected = sum(kept) / len(kept) if kept else torch.zeros(HIDDEN)
        torch.testing.assert_close(means[first, row], expected)
    assert (means[:, EMPTY] == 0).all()


def test_masked_mean_gradient():
    states = torch.randn(BATCH, POSITIONS, HIDDEN, requires_grad=True)
    masked_mean(states, MASK).sum().backward()
    shares = torch.tensor([[1 / 3, 0, 1 / 3, 1 / 3, 0], [0, 0, 1, 0, 0], [0] * 5])
    torch.testing.assert_close(states.grad, shares.unsqueeze(-1).expand_as(states))


def test_masked_mean_of_no_positions():
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
        kept = [states[row, position] for position in range(POSITIONS) if MASK[row, position]]
        exponents = [torch.exp(scorer @ state) for state in kept]
        expected = sum((e * s for e, s in zip(exponents, kept, strict=True)), torch.zeros(HIDDEN))
        torch.testing.assert_close(
            pooled[row], expected / sum(exponents, torch.tensor(0.0)) if kept else expected
        )
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


def pair_of_attentions():
    """Ours, and torch's with the same weights."""
    ours, torchs = (
        MultiHeadAttention(HIDDEN, HEADS),
        nn.MultiheadAttention(HIDDEN, HEADS, batch_first=True),
    )
    for parameter in ours.parameters():
        parameter.data.normal_(std=0.7)
    inputs = (ours.query, ours.key, ours.value)
    torchs.in_proj_weight.data = torch.cat([layer.weight.data for layer in inputs])
    torchs.in_proj_bias.data = torch.cat([layer.bias.data for layer in inputs])
    torchs.out_proj.load_state_dict(ours.output.state_dict())
    return ours, torchs


def test_multi_head_attention_equals_torchs():
    ours, torchs = pair_of_attentions()
    states, memory = torch.randn(BATCH, QUERIES, HIDDEN), torch.randn(BATCH, POSITIONS, HIDDEN)
    kept = MASK.any(1)
    result = ours(states, memory, MASK)
    expected, _ = torchs(states[kept], memory[kept], memory[kept], key_padding_mask=~MASK[kept])
    torch.testing.assert_close(result[kept], expected, rtol=1e-4, atol=1e-5)
    assert (result[EMPTY] == 0).all()


def test_multi_head_attention_gradients_equal_torchs():
    ours, torchs = pair_of_attentions()
    states = torch.randn(1, QUERIES, HIDDEN, requires_grad=True)
    memory = torch.randn(1, POSITIONS, HIDDEN, requires_grad=True)
    weights, mask = torch.randn(1, QUERIES, HIDDEN), MASK[:1]
    gradients = torch.autograd.grad((ours(states, memory, mask) * weights).sum(), (states, memory))
    expected, _ = torchs(states, memory, memory, key_padding_mask=~mask)
    for gradient, reference in zip(
        gradients, torch.autograd.grad((expected * weights).sum(), (states, memory)), strict=True
    ):
        torch.testing.assert_close(gradient, reference, rtol=1e-4, atol=1e-5)


def test_multi_head_attention_equals_loops():
    attention, _ = pair_of_attentions()
    states, memory = torch.randn(BATCH, QUERIES, HIDDEN), torch.randn(BATCH, POSITIONS, HIDDEN)
    result = attention(states, memory, MASK)
    size = HIDDEN // HEADS
    for row, query in itertools.product(range(BATCH), range(QUERIES)):
        joined = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            asked = attention.query(states[row, query])[part]
            kept = [memory[row, position] for position in range(POSITIONS) if MASK[row, position]]
            exponents = [torch.exp(asked @ attention.key(m)[part] / math.sqrt(size)) for m in kept]
            read = sum(
                (e * attention.value(m)[part] for e, m in zip(exponents, kept, strict=True)),
                torch.zeros(size),
            )
            joined.append(read / sum(exponents) if kept else read)
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


def test_multi_head_attention_to_no_positions_at_all():
    attention = MultiHeadAttention(HIDDEN, HEADS)
    result = attention(
        torch.randn(BATCH, QUERIES, HIDDEN),
        torch.zeros(BATCH, 0, HIDDEN),
        torch.zeros(BATCH, 0).bool(),
    )
    assert torch.equal(result, torch.zeros(BATCH, QUERIES, HIDDEN))


def test_multi_head_attention_does_not_see_masked_positions():
    attention = MultiHeadAttention(HIDDEN, HEADS)
    states, memory = torch.randn(BATCH, QUERIES, HIDDEN), torch.randn(BATCH, POSITIONS, HIDDEN)
    loud = memory.masked_fill(~MASK.unsqueeze(-1), 1e20)
    assert torch.equal(attention(states, loud, MASK), attention(states, memory, MASK))


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
