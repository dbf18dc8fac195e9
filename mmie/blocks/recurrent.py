"""Bidirectional LSTMs that read neither padding nor what it stands beside: over characters, and over tokens."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

SYMBOLS = 257
"""Bytes, and 0 for padding."""


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
        self.lstm = nn.LSTM(size, size, batch_first=True, bidirectional=True)
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
        readable = lengths.clamp(min=1).cpu()
        packed = pack_padded_sequence(embedded, readable, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)  # (2, batch * words, size)
        vectors = self.projection(torch.cat([last[0], last[1]], dim=-1)) * (lengths > 0).unsqueeze(-1)
        return vectors.unflatten(0, characters.shape[:2])  # type: ignore[no-any-return]


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
        self.lstm = nn.LSTM(input_size, size, batch_first=True, bidirectional=True)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States of a post's tokens in the light of each other; 0 on padding.

        Args:
            states: (batch, tokens, input_size)
            mask: (batch, tokens) bool, True on a row's first tokens, at least one.

        Returns:
            (batch, tokens, 2 * size)
        """
        lengths = mask.sum(-1).cpu()
        packed = pack_padded_sequence(self.dropout(states), lengths, batch_first=True, enforce_sorted=False)
        read, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=states.shape[1])
        result: Tensor = self.dropout(read)
        return result
