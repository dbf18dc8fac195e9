"""LSTMs as single ONNX operators, since ``torch.export`` unrolls theirs to one length of text."""

from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from mmie.utils.optional import require

_TO_ONNX = (0, 3, 1, 2)
"""Torch's gates (input, forget, cell, output) in ONNX's order (input, output, forget, cell)."""
_FROM_ONNX = (0, 2, 3, 1)
"""ONNX's gates in torch's order."""


@torch.library.custom_op("mmie::lstm", mutates_args=())
def _lstm(states: Tensor, weight: Tensor, recurrence: Tensor, bias: Tensor, size: int) -> Tensor:
    """Compute ONNX's operator LSTM: (positions, rows, input) to (positions, 1, rows, size)."""
    parts = [_reorder(weight[0], _FROM_ONNX), _reorder(recurrence[0], _FROM_ONNX)]
    # the operator adds two biases, as torch does
    parts += [_reorder(half, _FROM_ONNX) for half in bias[0].chunk(2)]
    start = states.new_zeros(1, states.shape[1], size)
    result = torch.lstm(states, (start, start), parts, True, 1, 0.0, False, False, False)
    return result[0].unsqueeze(1)


_lstm.register_fake(
    lambda states, weight, recurrence, bias, size: states.new_empty(
        states.shape[0], 1, states.shape[1], size
    )
)


def _reorder(weights: Tensor, order: tuple[int, ...]) -> Tensor:
    """Reorder the gates of weights (4 * size, ...)."""
    return torch.cat([weights.chunk(4)[gate] for gate in order])


class OnnxLSTM(nn.Module):
    """A one-directional ``nn.LSTM`` of one layer whose graph fits any length.

    Args:
        lstm: The layer, whose weights are copied.
    """

    weight: Tensor
    recurrence: Tensor
    bias: Tensor

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.size = lstm.hidden_size
        parts = [_reorder(part.detach(), _TO_ONNX) for part in lstm.parameters()]
        weight, recurrence, *biases = parts  # of a plain LSTM, in this order
        bias = torch.cat(biases)
        self.register_buffer("weight", weight.unsqueeze(0))  # (1, 4 * size, input)
        self.register_buffer("recurrence", recurrence.unsqueeze(0))  # (1, 4 * size, size)
        self.register_buffer("bias", bias.unsqueeze(0))  # (1, 8 * size)

    def forward(self, states: Tensor) -> tuple[Tensor, None]:
        """Compute the states after every position, (rows, positions, size), as ``nn.LSTM`` does."""
        parts = (self.weight, self.recurrence, self.bias)
        result: Tensor = _lstm(states.transpose(0, 1), *parts, self.size)
        return result.squeeze(1).transpose(0, 1), None


def replace_lstms(model: nn.Module) -> None:
    """Replace all LSTMs of a model for which `is_plain_lstm` is true by `OnnxLSTM`."""
    for name, part in list(model.named_modules()):
        if is_plain_lstm(part):
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, OnnxLSTM(part))


def is_plain_lstm(part: nn.Module) -> TypeGuard[nn.LSTM]:
    """Tell whether a layer is an LSTM that `OnnxLSTM` stands for."""
    if not isinstance(part, nn.LSTM):
        return False
    is_single = part.num_layers == 1 and not part.bidirectional and not part.proj_size
    return is_single and part.batch_first and bool(part.bias)


def lstm_translation() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the translation of `OnnxLSTM` for ``torch.onnx.export``."""
    op = require("onnxscript", "onnx").opset18

    def translate(states: Any, weight: Any, recurrence: Any, bias: Any, size: int) -> Any:
        return op.LSTM(states, weight, recurrence, bias, hidden_size=size)[0]

    return {torch.ops.mmie.lstm.default: translate}
