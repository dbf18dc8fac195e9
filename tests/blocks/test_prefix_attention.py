"""Prefix attention against loops, against transformers and against its key-value cache."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from transformers import AutoModel, DynamicCache

from mmie.blocks.prefix_attention import Prefix, prefix_attention, split_heads
from mmie.blocks.text_encoder import TextEncoder

LAYERS, BATCH, HEADS, LENGTH, HEAD, TOKENS = 3, 2, 4, 5, 8, 7
HIDDEN = HEADS * HEAD
SHAPE = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 48,
    "vocab_size": 50,
    "max_position_embeddings": 24,
}
FAMILIES = {
    "bert": {"model_type": "bert", **SHAPE},
    "roberta": {"model_type": "roberta", "type_vocab_size": 1, **SHAPE},
    "xlm-roberta": {"model_type": "xlm-roberta", "type_vocab_size": 1, **SHAPE},
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
FULL = torch.ones(BATCH, TOKENS, dtype=torch.bool)
PADDED = torch.arange(TOKENS) < torch.tensor([[TOKENS], [4]])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=FAMILIES)
def encoder(request):
    return build(request.param).eval()


def build(family="bert", frozen=False, gradient_checkpointing=False, **settings):
    torch.manual_seed(1)
    encoder = TextEncoder(
        {**FAMILIES[family], **settings},
        False,
        frozen=frozen,
        gradient_checkpointing=gradient_checkpointing,
    )
    # With the usual initialisation the layers are nearly identities.
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder


def build_reference(encoder):
    """Build transformers' own model with the same weights, in eval mode."""
    config = copy.deepcopy(encoder.config)
    model = AutoModel.from_config(config, attn_implementation="sdpa", add_pooling_layer=False)
    model.load_state_dict(encoder.model.state_dict())
    return model.eval()


def make_prefix(mask=None, length=LENGTH, layers=LAYERS, dtype=torch.float32, learned=False):
    generator = torch.Generator().manual_seed(2)
    keys, values = torch.randn(
        2, layers, BATCH, HEADS, length, HEAD, generator=generator, dtype=dtype
    )
    return Prefix(
        keys.clone().requires_grad_(learned), values.clone().requires_grad_(learned), mask
    )


def make_mask(kind):
    """Make a mask for all heads (batch, prefix) or for each (batch, heads, prefix), or None."""
    generator = torch.Generator().manual_seed(3)
    shapes = {"shared": (BATCH, LENGTH), "per head": (BATCH, HEADS, LENGTH)}
    return None if kind == "none" else torch.rand(shapes[kind], generator=generator) < 0.5


def text(mask):
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(5, 50, mask.shape, generator=generator)
    return ids.masked_fill(~mask, 1), mask, torch.zeros_like(ids)


def select_real(states, mask=PADDED):
    """States of select_real tokens: what padding computes is nobody's business."""
    return states[mask]


def literal_attention(query, key, value, text_mask, prefix, layer):
    """Compute the docstring's equation for one query at a time, without the masked positions."""
    batch, heads, tokens, size = query.shape
    result = torch.zeros(batch, tokens, heads, size, dtype=query.dtype)
    for row, head, token in itertools.product(range(batch), range(heads), range(tokens)):
        pairs = [] if prefix is None else unmasked_prefix_pairs(prefix, layer, row, head)
        for position in range(tokens):
            if text_mask is None or text_mask[row, position]:
                pairs.append((key[row, head, position], value[row, head, position]))
        weights = [torch.exp(query[row, head, token] @ k / math.sqrt(size)) for k, _ in pairs]
        total = sum(weight * v for weight, (_, v) in zip(weights, pairs, strict=True))
        result[row, token, head] = total / sum(weights)
    return result


def unmasked_prefix_pairs(prefix, layer, row, head):
    """List the keys and values of unmasked prefix positions."""
    keys, values = prefix.keys[layer, row, head], prefix.values[layer, row, head]
    if prefix.mask is not None:
        mask = prefix.mask[row] if prefix.mask.ndim == 2 else prefix.mask[row, head]
        keys, values = keys[mask], values[mask]
    return list(zip(keys, values, strict=True))


@pytest.mark.parametrize("padding", [None, PADDED], ids=["no padding mask", "padding"])
@pytest.mark.parametrize("kind", ["no prefix", "none", "shared", "per head"])
def test_attention_and_its_gradient_equal_loops(kind, padding):
    prefix = (
        None
        if kind == "no prefix"
        else make_prefix(make_mask(kind), dtype=torch.float64, learned=True)
    )
    query, key, value = torch.randn(3, BATCH, HEADS, TOKENS, HEAD, dtype=torch.float64)
    inputs = [query, key, value] + ([] if prefix is None else [prefix.keys, prefix.values])
    for tensor in inputs:
        tensor.requires_grad_()
    module = nn.Module()
    module.layer_idx, module.is_causal = 1, False
    mask = None if padding is None else padding[:, None, None, :].expand(-1, 1, TOKENS, -1)
    ours, weights = prefix_attention(
        module, query, key, value, mask, prefix, dropout=0.0, scaling=HEAD**-0.5
    )
    expected = literal_attention(query, key, value, padding, prefix, layer=1)
    assert weights is None
    torch.testing.assert_close(ours, expected)
    direction = torch.randn_like(ours)
    gradients = zip(
        torch.autograd.grad(ours, inputs, direction),
        torch.autograd.grad(expected, inputs, direction),
        strict=True,
    )
    for gradient, expected_gradient in gradients:
        torch.testing.assert_close(gradient, expected_gradient)


def test_scaling_is_passed_on():
    query, key, value = torch.randn(3, BATCH, HEADS, TOKENS, HEAD)
    module = nn.Module()
    module.layer_idx, module.is_causal = 0, False
    ours, _ = prefix_attention(module, query, key, value, None, make_prefix(), scaling=1.0)
    expected = literal_attention(query * math.sqrt(HEAD), key, value, None, make_prefix(), layer=0)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_prefix_of_another_dtype_is_cast_to_that_of_the_text(encoder, dtype):
    prefix = make_prefix(make_mask("shared"), dtype=dtype)
    result = encoder(*text(PADDED), prefix)
    assert result.dtype == torch.float32
    assert torch.equal(
        result,
        encoder(*text(PADDED), Prefix(prefix.keys.float(), prefix.values.float(), prefix.mask)),
    )


def test_split_heads_gives_each_head_its_slice():
    states = torch.randn(LAYERS, BATCH, TOKENS, HIDDEN)
    split = split_heads(states, HEADS)
    assert split.shape == (LAYERS, BATCH, HEADS, TOKENS, HEAD)
    for head in range(HEADS):
        assert torch.equal(split[:, :, head], states[..., head * HEAD : (head + 1) * HEAD])


@pytest.mark.parametrize("mask", [FULL, PADDED], ids=["no padding", "padding"])
@pytest.mark.parametrize("prefix_of_0", [False, True])
def test_without_prefix_states_equal_transformers_bit_for_bit(encoder, mask, prefix_of_0):
    ids, mask, segments = text(mask)
    prefix = make_prefix(torch.ones(BATCH, 0, dtype=torch.bool), length=0) if prefix_of_0 else None
    expected = build_reference(encoder)(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(encoder(ids, mask, segments, prefix), expected)


@pytest.mark.parametrize("shift", [0, LENGTH])
@pytest.mark.parametrize("text_mask", [FULL, PADDED], ids=["no padding", "padding"])
@pytest.mark.parametrize("kind", ["none", "shared"])
def test_encoder_equals_one_with_a_key_value_cache(encoder, kind, text_mask, shift):
    """A cache of transformers shifts text positions by its length unless they are given."""
    ids, mask, segments = text(text_mask)
    prefix = make_prefix(make_mask(kind))
    reference, cache = build_reference(encoder), DynamicCache()
    for layer in range(LAYERS):
        cache.update(prefix.keys[layer], prefix.values[layer], layer)
    allowed = torch.ones(BATCH, LENGTH, dtype=torch.bool) if prefix.mask is None else prefix.mask
    joint = torch.cat([allowed, mask], dim=1)[:, None, None, :].expand(-1, 1, TOKENS, -1)
    first = 0 if encoder.config.model_type == "bert" else encoder.config.pad_token_id + 1
    positions = (
        {} if shift else {"position_ids": torch.arange(first, first + TOKENS).expand(BATCH, -1)}
    )
    expected = reference(
        input_ids=ids, attention_mask=joint, past_key_values=cache, **positions
    ).last_hidden_state
    result = encoder(ids, mask, segments, prefix, shift)
    torch.testing.assert_close(
        select_real(result, mask), select_real(expected, mask), rtol=0, atol=1e-5
    )
    assert (result - encoder(ids, mask, segments, prefix, LENGTH - shift))[mask].abs().max() > 1e-2


def test_prefix_does_not_shift_text_positions(encoder):
    calls = []
    encoder.model.embeddings.position_embeddings.register_forward_pre_hook(
        lambda _, inputs: calls.append(inputs[0])
    )
    for prefix in (None, make_prefix()):
        encoder(*text(FULL), prefix)
    encoder(*text(FULL), make_prefix(), LENGTH)
    first = 0 if encoder.config.model_type == "bert" else encoder.config.pad_token_id + 1
    for positions, shift in zip(calls, (0, 0, LENGTH), strict=True):
        assert (positions == torch.arange(first + shift, first + shift + TOKENS)).all()


@pytest.mark.parametrize("kind", ["shared", "per head"])
@pytest.mark.parametrize("text_mask", [FULL, PADDED], ids=["no padding", "padding"])
def test_masked_prefix_positions_do_not_change_states(encoder, kind, text_mask):
    prefix = make_prefix(make_mask(kind))
    masked = ~(prefix.mask if kind == "per head" else prefix.mask[:, None, :].expand(-1, HEADS, -1))
    extreme = Prefix(prefix.keys.clone(), prefix.values.clone(), prefix.mask)
    extreme.keys[:, masked] = 1e30
    extreme.values[:, masked] = -1e30
    expected = encoder(*text(text_mask), prefix)
    assert torch.equal(encoder(*text(text_mask), extreme), expected)
    extreme.values[:, ~masked] += 1
    assert not torch.allclose(encoder(*text(text_mask), extreme), expected, atol=1e-2)


@pytest.mark.parametrize("shape", [(BATCH, LENGTH), (BATCH, HEADS, LENGTH)])
@pytest.mark.parametrize("text_mask", [FULL, PADDED], ids=["no padding", "padding"])
def test_fully_masked_prefix_gives_the_states_without_prefix(encoder, shape, text_mask):
    prefix = make_prefix(torch.zeros(shape, dtype=torch.bool))
    ids, mask, segments = text(text_mask)
    expected = build_reference(encoder)(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(encoder(ids, mask, segments, prefix), expected, rtol=0, atol=2e-6)


def test_rows_do_not_depend_on_prefixes_of_other_rows(encoder):
    prefix = make_prefix(make_mask("per head"))
    ids, mask, segments = text(PADDED)
    together = encoder(ids, mask, segments, prefix)
    for row in range(BATCH):
        single = slice(row, row + 1)
        alone = Prefix(prefix.keys[:, single], prefix.values[:, single], prefix.mask[single])
        states = encoder(ids[single], mask[single], segments[single], alone)
        torch.testing.assert_close(
            states[mask[single]], together[single][mask[single]], rtol=0, atol=1e-5
        )


def compute_gradients(encoder, prefix, text_mask=PADDED):
    """Compute gradients of the prefix, then of the weights that have one, for a fixed loss."""
    prefix.keys.requires_grad_()
    prefix.values.requires_grad_()
    # like a method's prefix, which has a graph
    computed = Prefix(prefix.keys.tanh(), prefix.values.tanh(), prefix.mask)
    states = encoder(*text(text_mask), computed)
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(5))
    (select_real(states, text_mask) * select_real(weights, text_mask)).sum().backward()
    return [
        prefix.keys.grad,
        prefix.values.grad,
        *(p.grad for p in encoder.parameters() if p.grad is not None),
    ]


@pytest.mark.parametrize("kind", ["none", "shared", "per head"])
@pytest.mark.parametrize("training", [True, False])
def test_gradient_reaches_every_layers_keys_and_values(encoder, kind, training):
    prefix = make_prefix(make_mask(kind))
    keys, values, *_ = compute_gradients(encoder.train(training), prefix)
    reached = torch.ones(BATCH, HEADS, LENGTH, dtype=torch.bool)
    if prefix.mask is not None:
        reached = prefix.mask if kind == "per head" else prefix.mask[:, None].expand(-1, HEADS, -1)
    for gradient in (keys, values):
        assert gradient.isfinite().all()
        assert torch.equal(gradient.ne(0).any(-1), reached.expand(LAYERS, -1, -1, -1))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_gives_the_same_gradients(family):
    results, runs = [], []
    for checkpointing in (False, True):
        encoder = build(family, gradient_checkpointing=checkpointing, **NO_DROPOUT)
        calls = []
        for module in encoder.modules():
            if hasattr(module, "layer_idx"):
                module.register_forward_pre_hook(
                    lambda module, _, calls=calls: calls.append(module.layer_idx)
                )
        results.append(compute_gradients(encoder, make_prefix(make_mask("shared"))))
        runs.append(len(calls))
    assert runs == [LAYERS, 2 * LAYERS]  # each layer was computed again in the backward pass
    assert len(results[0]) == 2 + len(list(encoder.parameters()))
    for without, with_ in zip(*results, strict=True):
        torch.testing.assert_close(with_, without, rtol=1e-5, atol=1e-6)


def test_under_bfloat16_autocast(encoder):
    prefix = make_prefix(make_mask("shared"))
    expected = encoder(*text(PADDED), prefix)
    without = encoder(*text(PADDED))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = encoder(*text(PADDED), prefix)
        gradients = compute_gradients(encoder, prefix)
    error = select_real(states.float() - expected).abs()
    assert error.max() < 0.15
    assert error.mean() < 0.1 * select_real(without - expected).abs().mean()
    assert all(gradient.isfinite().all() and gradient.ne(0).any() for gradient in gradients[:2])


@pytest.mark.parametrize("probability", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_acts_in_training_only(probability):
    encoder = build(**{**NO_DROPOUT, probability: 0.5})
    first, second = (encoder(*text(PADDED), make_prefix()) for _ in range(2))
    assert not torch.allclose(first, second, atol=1e-2)
    encoder.eval()
    first, second = (encoder(*text(PADDED), make_prefix()) for _ in range(2))
    assert torch.equal(first, second)


def test_frozen_encoder_passes_gradient_to_the_prefix_only():
    encoder = build(frozen=True)
    gradients = compute_gradients(encoder, make_prefix())
    assert len(gradients) == 2
    assert all(gradient.ne(0).flatten(1).any(1).all() for gradient in gradients)
    expected = build().eval()(*text(PADDED), make_prefix())
    # dropout stays off
    assert torch.equal(encoder.train()(*text(PADDED), make_prefix()), expected)
