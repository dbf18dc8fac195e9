"""Bidirectional LSTMs over padded rows: over the characters of words, and over tokens."""

import torch
from torch import Tensor, nn

SYMBOLS = 257
"""Number of bytes, and 0 for padding."""


class PaddedBiLSTM(nn.Module):
    """Bidirectional LSTM whose states on real positions do not depend on padding.

    Rows are not packed, because packing makes the host wait for the GPU. Instead a second forward
    LSTM reads each row in reverse.

    Args:
        input_size: Width of the inputs.
        size: Width of the states in each direction.
    """

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(input_size, size, batch_first=True)
        self.back = nn.LSTM(input_size, size, batch_first=True)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Compute the states after every position in both directions, 0 on padding.

        Args:
            states: (rows, positions, input_size)
            lengths: (rows,) number of real positions, which come first.

        Returns:
            (rows, positions, 2 * size)
        """
        positions = torch.arange(states.shape[1], device=states.device)
        positions = positions.expand(states.shape[:2])  # (rows, positions)
        last = lengths.unsqueeze(1) - 1  # (rows, 1)
        is_real = positions <= last  # (rows, positions)
        reversal = torch.where(is_real, last - positions, positions)  # (rows, positions)
        reversed_states, _ = self.back(_select(states, reversal))  # (rows, positions, size)
        back = _select(reversed_states, reversal)  # (rows, positions, size)
        ahead, _ = self.ahead(states)  # (rows, positions, size)
        return torch.cat([ahead, back], dim=-1) * is_real.unsqueeze(-1)


def _select(states: Tensor, positions: Tensor) -> Tensor:
    """Select states (rows, positions, width) at given positions (rows, selected)."""
    return states.gather(1, positions.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


class CharacterEncoder(nn.Module):
    """Word vectors from a bidirectional LSTM over the bytes of each word.

        w_i = W [h_forward ; h_backward]

    where h_forward and h_backward are the last states in the two directions. W starts at 0, so that
    the vectors at first do not disturb what they are added to.

    Source: Lample et al., Neural Architectures for Named Entity Recognition, NAACL 2016,
    Section 4.1.

    Args:
        hidden_size: Width of the vectors.
        size: Width of a byte's vector, and of the LSTM's states in each direction.
    """

    def __init__(self, hidden_size: int, size: int = 50) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, size, padding_idx=0)
        self.lstm = PaddedBiLSTM(size, size)
        self.projection = nn.Linear(2 * size, hidden_size, bias=False)
        nn.init.zeros_(self.projection.weight)

    def forward(self, characters: Tensor) -> Tensor:
        """Encode every word, as 0 if it has no characters.

        Args:
            characters: (batch, words, bytes) long, bytes plus 1, then 0.

        Returns:
            (batch, words, hidden)
        """
        lengths = (characters > 0).sum(-1).flatten()  # (batch * words,)
        embedded = self.embedding(characters.flatten(0, 1))  # (batch * words, bytes, size)
        states = self.lstm(embedded, lengths)  # (batch * words, bytes, 2 * size)
        ahead, back = states.chunk(2, dim=-1)  # (batch * words, bytes, size) each
        last_position = (lengths - 1).clamp(min=0).unsqueeze(1)  # (batch * words, 1)
        last = _select(ahead, last_position).squeeze(1)  # (batch * words, size)
        vectors: Tensor = self.projection(torch.cat([last, back[:, 0]], dim=-1))
        return vectors.view(*characters.shape[:2], -1)


class BiLSTM(nn.Module):
    """Bidirectional LSTM with dropout before and after.

    Args:
        input_size: Width of the inputs.
        size: Width of the states in each direction.
        dropout: Share of values dropped in training, on input and output.
    """

    def __init__(self, input_size: int, size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.lstm = PaddedBiLSTM(input_size, size)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Compute the states of tokens in the context of their post, 0 on padding.

        Args:
            states: (batch, tokens, input_size)
            mask: (batch, tokens) bool, True on a row's first tokens, at least one.

        Returns:
            (batch, tokens, 2 * size)
        """
        result: Tensor = self.dropout(self.lstm(self.dropout(states), mask.sum(-1)))
        return result
