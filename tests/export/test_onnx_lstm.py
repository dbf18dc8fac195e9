"""LSTMs that are traced as one operator compute what PyTorch's compute."""

import pytest
import torch
from torch import nn

from mmie.blocks.recurrent import PaddedBiLSTM
from mmie.export.onnx_lstm import OnnxLSTM, is_plain_lstm, replace_lstms


def test_the_operator_computes_pytorchs_states():
    torch.manual_seed(0)
    lstm, states = nn.LSTM(5, 3, batch_first=True), torch.randn(2, 7, 5)
    expected, _ = lstm(states)
    computed, _ = OnnxLSTM(lstm)(states)
    torch.testing.assert_close(computed, expected, rtol=0, atol=1e-6)


def test_the_shape_of_the_operator_is_known_without_computing():
    layer = OnnxLSTM(nn.LSTM(5, 3, batch_first=True)).to("meta")
    assert layer(torch.empty(2, 7, 5, device="meta"))[0].shape == (2, 7, 3)


def test_all_lstms_of_a_model_are_replaced():
    torch.manual_seed(0)
    model = nn.Sequential(PaddedBiLSTM(5, 3))
    states, lengths = torch.randn(2, 7, 5), torch.tensor([7, 4])
    expected = model[0](states, lengths)
    replace_lstms(model)
    assert not any(isinstance(part, nn.LSTM) for part in model.modules())
    torch.testing.assert_close(model[0](states, lengths), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(4, 4),
        nn.LSTM(4, 4, num_layers=2, batch_first=True),
        nn.LSTM(4, 4, bidirectional=True, batch_first=True),
        nn.LSTM(4, 4, proj_size=2, batch_first=True),
        nn.LSTM(4, 4, bias=False, batch_first=True),
        nn.GRU(4, 4, batch_first=True),
    ],
)
def test_other_layers_are_no_plain_lstm(layer):
    assert not is_plain_lstm(layer)
