"""Cheap dropout against the properties of dropout and against torch's attention."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmie.blocks.dropout import Dropout, attend_with_dropout, drop, keep_mask, use_cheap_dropout
from mmie.blocks.text_encoder import TextEncoder


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_share_of_zeros_is_p_and_the_mean_is_kept(p, dtype):
    torch.manual_seed(0)
    dropped = drop(torch.ones(999, 1001, dtype=dtype), p)
    assert dropped.dtype == dtype
    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(p, abs=0.002)
    assert dropped.unique().tolist() == pytest.approx(
        [0, 1 / (1 - p)], rel=1e-4 if dtype != torch.bfloat16 else 1e-2
    )


def test_neighbours_are_drawn_independently():
    torch.manual_seed(0)
    dropped = (~keep_mask((250_000, 4), 0.3)).double()
    correlations = torch.corrcoef(torch.cat([dropped, dropped.roll(1, 0)], dim=1).T) - torch.eye(8)
    assert correlations.abs().max() < 0.01
    assert dropped.mean(0).tolist() == pytest.approx([0.3] * 4, abs=0.005)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 4097])
def test_mask_of_any_number_of_elements(count):
    assert keep_mask((count,), 0.5).shape == (count,)


def test_module_is_identity_in_eval_mode_and_drops_gradients_like_states():
    module = Dropout(0.25)
    states = torch.ones(40, 50, requires_grad=True)
    assert torch.equal(module.eval()(states), states)
    torch.manual_seed(1)
    dropped = module.train()(states)
    dropped.sum().backward()
    assert torch.equal(states.grad, dropped)
    torch.manual_seed(1)
    assert torch.equal(module(states), dropped)
    assert not torch.equal(module(states), dropped)


def test_attention_drops_attention_weights(monkeypatch):
    torch.manual_seed(2)
    query, key, value = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 4)
    mask = torch.rand(2, 1, 5, 7) > 0.3
    plain = functional.scaled_dot_product_attention(query, key, value, mask, scale=0.4)
    monkeypatch.setattr("mmie.blocks.dropout.drop", lambda weights, p: weights)
    torch.testing.assert_close(attend_with_dropout(query, key, value, mask, 0.5, 0.4), plain)
    only_third = torch.arange(7) == 2
    monkeypatch.setattr("mmie.blocks.dropout.drop", lambda weights, p: weights * only_third)
    weights = (query @ key.transpose(-1, -2) * 0.4).masked_fill(~mask, float("-inf")).softmax(-1)
    expected = weights[..., 2:3] * value[:, :, 2:3]
    torch.testing.assert_close(attend_with_dropout(query, key, value, mask, 0.5, 0.4), expected)


def test_text_encoder_uses_no_dropout_or_attention_of_torch_in_training(tiny_bert, monkeypatch):
    torch.manual_seed(0)
    encoder = TextEncoder(tiny_bert, pretrained=False)
    assert {type(part) for part in encoder.modules() if isinstance(part, nn.Dropout)} == {Dropout}
    ids = torch.randint(5, 50, (2, 9))
    arguments = (ids, torch.ones(2, 9, dtype=torch.bool), torch.zeros(2, 9, dtype=torch.long))
    monkeypatch.setattr(
        "torch.nn.functional.dropout", lambda *_, **__: pytest.fail("torch's dropout")
    )
    monkeypatch.setattr(
        "torch.nn.functional.scaled_dot_product_attention",
        lambda *_, **__: pytest.fail("torch's attention"),
    )
    assert not torch.equal(encoder.train()(*arguments), encoder(*arguments))


def test_only_plain_dropout_is_replaced():
    module = nn.Sequential(nn.Dropout(0.3), nn.Sequential(nn.Dropout1d(0.2)))
    use_cheap_dropout(module)
    assert [type(module[0]), type(module[1][0])] == [Dropout, nn.Dropout1d]
    assert module[0].p == 0.3
