"""Search by BM25."""

import math

import numpy as np
import pytest

from mmie.context.search import BM25Search

pytest.importorskip("bm25s", reason="needs bm25s: mmie[context]")

TEXTS = ["Jordan lands in Chicago", "Chicago Bulls win", "a cat"]


def literal_score(query, text, texts, k1=1.5, b=0.75):
    """BM25 in the variant of Lucene, from its formula."""
    documents = [other.lower().split() for other in texts]
    words = text.lower().split()
    mean = sum(map(len, documents)) / len(documents)
    score = 0.0
    for word in query.lower().split():
        number = sum(word in document for document in documents)
        idf = math.log(1 + (len(documents) - number + 0.5) / (number + 0.5))
        count = words.count(word)
        score += idf * count / (count + k1 * (1 - b + b * len(words) / mean))
    return score


def test_scores_are_those_of_the_formula():
    query = "chicago jordan chicago unknown"
    [scores] = BM25Search(TEXTS).scores([query])
    expected = [literal_score(query, text, TEXTS) for text in TEXTS]
    assert scores[:2] == pytest.approx(expected[:2], rel=1e-5)
    assert expected[2] == 0
    assert scores[2] == -np.inf


@pytest.mark.parametrize("query", ["", "unknown", "😀", "http://t.co/x"])
def test_queries_without_a_known_word_find_nothing(query):
    [scores] = BM25Search(TEXTS).scores([query])
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("texts", [[], ["😀", "!"]])
def test_texts_without_a_word_are_never_found(texts):
    [scores] = BM25Search(texts).scores(["a"])
    assert scores.shape == (len(texts),)
    assert np.isneginf(scores).all()


def test_constants_are_part_of_the_identity():
    assert BM25Search(TEXTS).identity != BM25Search(TEXTS, k1=1.2).identity
