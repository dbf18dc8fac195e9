"""Bidirectional LSTMs that read neither padding nor what it stands beside: over characters, and over tokens."""

import torch
from torch import Tensor, nn

SYMBOLS = 257
"""Bytes, and 0 for padding."""


class BothWays(nn.Module):
    """An LSTM from each row's start and one from its end, side by side.

    Rows are not packed, for which a GPU would have to be waited for: the second LSTM reads each row turned round.

    Args:
        input_size: Width of what is read.
        size: Width of the states in each direction.
    """

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(input_size, size, batch_first=True)
        self.back = nn.LSTM(input_size, size, batch_first=True)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """States after every position, in both directions; 0 on padding.

        Args:
            states: (rows, positions, input_size)
            lengths: (rows,) positions that are no padding; they come first.

        Returns:
            (rows, positions, 2 * size)
        """
        places = torch.arange(states.shape[1], device=states.device).expand(
            states.shape[:2]
        )  # (rows, positions)
        is_real = places < lengths.unsqueeze(1)
        turned = torch.where(
            is_real, lengths.unsqueeze(1) - 1 - places, places
        )  # (rows, positions)
        back = _pick(self.back(_pick(states, turned))[0], turned)
        both = torch.cat([self.ahead(states)[0], back], dim=-1)
        return both * is_real.unsqueeze(-1)


def _pick(states: Tensor, places: Tensor) -> Tensor:
    """The state at each place, (rows, places, width)."""
    return states.gather(1, places.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


class CharacterEncoder(nn.Module):
    """w_i = W [h_forward ; h_backward], the last states of an LSTM over the characters of word i, both ways.

    W is 0 at the start, so that what the vectors are added to is not disturbed. Source: Lample et al., Neural
    Architectures for Named Entity Recognition, NAACL 2016, Section 4.1.

    Args:
        hidden_size: Width of the vectors.
        size: Width of a character's vector, and of the LSTM's states in each direction.
    """

    def __init__(self, hidden_size: int, size: int = 50) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, size, padding_idx=0)
        self.lstm = BothWays(size, size)
        self.projection = nn.Linear(2 * size, hidden_size, bias=False)
        nn.init.zeros_(self.projection.weight)

    def forward(self, characters: Tensor) -> Tensor:
        """A vector of every word, 0 for one without characters.

        Args:
            characters: (batch, words, bytes) long, bytes plus 1, then 0.

        Returns:
            (batch, words, hidden)
        """
        lengths = (characters > 0).sum(-1).flatten()  # (batch * words,)
        embedded = self.embedding(characters.flatten(0, 1))  # (batch * words, bytes, size)
        ahead, back = self.lstm(embedded, lengths).chunk(
            2, dim=-1
        )  # (batch * words, bytes, size) each
        last = _pick(ahead, (lengths - 1).clamp(min=0).unsqueeze(1)).squeeze(
            1
        )  # (batch * words, size)
        vectors: Tensor = self.projection(torch.cat([last, back[:, 0]], dim=-1))
        return vectors.view(*characters.shape[:2], -1)


class BiLSTM(nn.Module):
    """h_t = [h_forward,t ; h_backward,t], with dropout before and after.

    Args:
        input_size: Width of what it reads.
        size: Width of its states in each direction.
        dropout: Share of values dropped in training, on input and output.
    """

    def __init__(self, input_size: int, size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.lstm = BothWays(input_size, size)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States of a post's tokens in the light of each other; 0 on padding.

        Args:
            states: (batch, tokens, input_size)
            mask: (batch, tokens) bool, True on a row's first tokens, at least one.

        Returns:
            (batch, tokens, 2 * size)
        """
        result: Tensor = self.dropout(self.lstm(self.dropout(states), mask.sum(-1)))
        return result
