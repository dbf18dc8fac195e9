"""Matching loss of IMM written out for single numbers."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from helpers.literal import softmax

TEMPERATURE = 0.07


def cosine(left: Tensor, right: Tensor) -> float:
    """Compute the cosine of two vectors."""
    return (left @ right / (left.norm() * right.norm())).item()


def literal_divergence(
    scores: Sequence[Sequence[float]], similarity: Sequence[Sequence[float]]
) -> float:
    """Compute Equations 6 to 8."""
    posts, result = len(scores), 0.0
    for score_row, similarity_row in zip(scores, similarity, strict=True):
        p, total = softmax(score_row), sum(similarity_row)
        for j in range(posts):
            q = similarity_row[j] / total if total else 1 / posts
            result += p[j] * math.log(p[j] / (q + 1e-8)) / posts
    return result


def literal_matching(
    texts: Sequence[Tensor], pictures: Sequence[Tensor], similarity: Sequence[Sequence[float]]
) -> float:
    """Compute Equations 12 and 13 at `TEMPERATURE`."""
    cosines = torch.tensor([[cosine(t, v) for v in pictures] for t in texts], dtype=torch.float64)
    scores = cosines / TEMPERATURE
    transposed = list(zip(*similarity, strict=True))
    text_to_picture = literal_divergence(scores.tolist(), similarity)
    picture_to_text = literal_divergence(scores.T.tolist(), transposed)
    return (text_to_picture + picture_to_text) / 2
