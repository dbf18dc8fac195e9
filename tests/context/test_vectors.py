"""Search by sentence vectors."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from mmie.blocks.errors import WeightsUnavailable
from mmie.context.vectors import VectorSearch

TEXTS = ["Jordan lands", "Chicago wins the cup in the end", "a cat"]


@pytest.fixture(scope="module")
def encoder(tiny_bert, tmp_path_factory):
    """Folder of a tiny BERT with random weights."""
    folder = tmp_path_factory.mktemp("vectors")
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.from_pretrained(tiny_bert)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return str(folder)


def test_scores_are_cosines_of_mean_states_whatever_the_padding(encoder):
    model = AutoModel.from_pretrained(encoder).eval()
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    vectors = []
    for text in TEXTS:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        vectors.append(states[0].mean(0).numpy())
    scores = np.stack(list(VectorSearch(TEXTS, encoder).scores(TEXTS)))
    for row, first in enumerate(vectors):
        for column, second in enumerate(vectors):
            cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
            assert scores[row, column] == pytest.approx(cosine, abs=1e-5)


def test_nothing_is_indexed_of_no_texts(encoder):
    [scores] = VectorSearch([], encoder).scores(["a"])
    assert scores.shape == (0,)


def test_a_configuration_without_weights_is_refused(tiny_bert):
    with pytest.raises(WeightsUnavailable):
        VectorSearch(TEXTS, tiny_bert)


def test_weights_are_part_of_the_identity(encoder):
    identity = VectorSearch(TEXTS, encoder).identity
    assert identity["search"] == "vectors"
    assert len(identity["encoder"]) == 64
