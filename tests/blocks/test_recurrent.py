import pytest
import torch
from torch import nn

from mmie.blocks.recurrent import BiLSTM, CharacterEncoder

WORDS = ("a", "Jordan", "", "né")
HIDDEN = 5


@pytest.fixture(autouse=True)
def _in_double_precision():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def spelled(words, width):
    rows = [[byte + 1 for byte in word.encode()] for word in words]
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


def characters():
    encoder = CharacterEncoder(HIDDEN, size=4)
    nn.init.normal_(encoder.projection.weight)
    return encoder


def cell(lstm, vector, state, memory):
    """One step of an LSTM, by its definition."""
    weights = [
        getattr(lstm, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    gates = weights[0] @ vector + weights[1] @ state + weights[2] + weights[3]
    enter, forget, new, leave = gates.chunk(4)
    memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * memory.tanh(), memory


def states_of(lstm, vectors):
    """States of an LSTM after each vector."""
    state = memory = torch.zeros(lstm.hidden_size)
    states = []
    for vector in vectors:
        state, memory = cell(lstm, vector, state, memory)
        states.append(state)
    return states


def test_a_words_vector_is_made_of_the_last_states_in_both_directions():
    encoder = characters()
    vectors = encoder(spelled(WORDS, 8).unsqueeze(0))
    for place, word in enumerate(WORDS):
        letters = [encoder.embedding.weight[byte + 1] for byte in word.encode()]
        if not letters:
            assert not vectors[0, place].any()
            continue
        last = torch.cat(
            [
                states_of(encoder.lstm.ahead, letters)[-1],
                states_of(encoder.lstm.back, letters[::-1])[-1],
            ]
        )
        torch.testing.assert_close(vectors[0, place], encoder.projection.weight @ last)


def test_more_padding_of_characters_and_words_changes_nothing():
    encoder = characters()
    short = encoder(spelled(WORDS, 6).unsqueeze(0))
    long = encoder(spelled([*WORDS, "", ""], 9).unsqueeze(0))
    torch.testing.assert_close(long[:, :4], short, rtol=0, atol=1e-14)
    assert not long[:, 4:].any()


def test_characters_start_silent_and_wake_up():
    encoder = CharacterEncoder(HIDDEN)
    vectors = encoder(spelled(WORDS, 8).unsqueeze(0))
    assert not vectors.any()
    vectors.sum().backward()
    assert encoder.projection.weight.grad.any()


def test_no_word_has_a_character():
    assert not characters()(torch.zeros(2, 3, 1, dtype=torch.long)).any()


def test_states_of_tokens_are_an_lstms_in_both_directions():
    lstm, states = BiLSTM(3, 4, 0.5).eval(), torch.randn(2, 5, 3)
    lengths = (5, 2)
    read = lstm(states, torch.arange(5) < torch.tensor(lengths).unsqueeze(1))
    assert read.shape == (2, 5, 8)
    for row, length in enumerate(lengths):
        forward = states_of(lstm.lstm.ahead, states[row, :length])
        backward = states_of(lstm.lstm.back, states[row, :length].flip(0))[::-1]
        for token in range(length):
            torch.testing.assert_close(
                read[row, token], torch.cat([forward[token], backward[token]])
            )
        assert not read[row, length:].any()


def test_states_do_not_depend_on_what_stands_on_padding():
    lstm, states = BiLSTM(3, 4, 0.5).eval(), torch.randn(2, 5, 3)
    mask = torch.arange(5) < torch.tensor([[4], [2]])
    noise = torch.where(mask.unsqueeze(-1), states, torch.randn_like(states))
    assert torch.equal(lstm(noise, mask), lstm(states, mask))


def test_dropout_falls_on_input_and_output():
    lstm, states, mask = (
        BiLSTM(3, 4, 0.5),
        torch.ones(1, 400, 3),
        torch.ones(1, 400, dtype=torch.bool),
    )
    read = lstm.train()(states, mask)
    share = (read == 0).double().mean()
    assert 0.45 < share < 0.55
    kept = read[..., 0][read[..., 0] != 0]
    assert (
        kept.std() > 1e-3
    )  # the same input throughout would leave the middle of the text constant
    assert torch.equal(lstm.eval()(states, mask), lstm(states, mask))
