"""Recurrent blocks against an LSTM written out."""

import pytest
import torch
from torch import nn

from mmie.blocks.recurrent import BiLSTM, CharacterEncoder

WORDS = ("a", "Jordan", "", "né")
HIDDEN = 5

pytestmark = pytest.mark.usefixtures("_double_precision")


def spell(words, width):
    rows = [[byte + 1 for byte in word.encode()] for word in words]
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


def build_character_encoder():
    encoder = CharacterEncoder(HIDDEN, size=4)
    nn.init.normal_(encoder.projection.weight)
    return encoder


def lstm_step(lstm, vector, state, memory):
    """Compute one step of an LSTM by its definition."""
    gates = lstm.weight_ih_l0 @ vector + lstm.weight_hh_l0 @ state
    gates = gates + lstm.bias_ih_l0 + lstm.bias_hh_l0
    enter, forget, new, leave = gates.chunk(4)
    memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * memory.tanh(), memory


def lstm_states(lstm, vectors):
    """Compute the states of an LSTM after each vector."""
    state = memory = torch.zeros(lstm.hidden_size)
    states = []
    for vector in vectors:
        state, memory = lstm_step(lstm, vector, state, memory)
        states.append(state)
    return states


def test_word_vector_is_projected_from_the_last_states_in_both_directions():
    encoder = build_character_encoder()
    vectors = encoder(spell(WORDS, 8).unsqueeze(0))
    for index, word in enumerate(WORDS):
        letters = [encoder.embedding.weight[byte + 1] for byte in word.encode()]
        if not letters:
            assert not vectors[0, index].any()
            continue
        ahead = lstm_states(encoder.lstm.ahead, letters)[-1]
        back = lstm_states(encoder.lstm.back, letters[::-1])[-1]
        expected = encoder.projection.weight @ torch.cat([ahead, back])
        torch.testing.assert_close(vectors[0, index], expected)


def test_padding_of_characters_and_words_does_not_change_vectors():
    encoder = build_character_encoder()
    short = encoder(spell(WORDS, 6).unsqueeze(0))
    long = encoder(spell([*WORDS, "", ""], 9).unsqueeze(0))
    torch.testing.assert_close(long[:, :4], short, rtol=0, atol=1e-14)
    assert not long[:, 4:].any()


def test_vectors_start_at_0_and_get_gradient():
    encoder = CharacterEncoder(HIDDEN)
    vectors = encoder(spell(WORDS, 8).unsqueeze(0))
    assert not vectors.any()
    vectors.sum().backward()
    assert encoder.projection.weight.grad.any()


def test_words_without_characters_give_0():
    assert not build_character_encoder()(torch.zeros(2, 3, 1, dtype=torch.long)).any()


def test_states_of_tokens_equal_those_of_two_lstms():
    lstm, states = BiLSTM(3, 4, 0.5).eval(), torch.randn(2, 5, 3)
    lengths = (5, 2)
    result = lstm(states, torch.arange(5) < torch.tensor(lengths).unsqueeze(1))
    assert result.shape == (2, 5, 8)
    for row, length in enumerate(lengths):
        forward = lstm_states(lstm.lstm.ahead, states[row, :length])
        backward = lstm_states(lstm.lstm.back, states[row, :length].flip(0))[::-1]
        for token in range(length):
            expected = torch.cat([forward[token], backward[token]])
            torch.testing.assert_close(result[row, token], expected)
        assert not result[row, length:].any()


def test_states_do_not_depend_on_values_on_padding():
    lstm, states = BiLSTM(3, 4, 0.5).eval(), torch.randn(2, 5, 3)
    mask = torch.arange(5) < torch.tensor([[4], [2]])
    noise = torch.where(mask.unsqueeze(-1), states, torch.randn_like(states))
    assert torch.equal(lstm(noise, mask), lstm(states, mask))


def test_dropout_applies_to_input_and_output():
    lstm, states = BiLSTM(3, 4, 0.5), torch.ones(1, 400, 3)
    mask = torch.ones(1, 400, dtype=torch.bool)
    result = lstm.train()(states, mask)
    share = (result == 0).double().mean()
    assert 0.45 < share < 0.55
    nonzero = result[..., 0][result[..., 0] != 0]
    # Without dropout on the equal inputs, the states in the middle of the text would be constant.
    assert nonzero.std() > 1e-3
    assert torch.equal(lstm.eval()(states, mask), lstm(states, mask))
