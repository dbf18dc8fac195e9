"""Loss that matches the distribution of scores between texts and pictures to a given similarity.

Source: Lu and Guo, Implicit Modality Mining, Journal of Electronic Research and Application, March
2024, Equations 6 to 13.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mmie.blocks.precision import at_least_float32

Matching = Literal["cosine", "dot", "projection"]
_EPSILON = 1e-8
"""eps of Equation 6."""


def matching_loss(
    text: Tensor,
    pictures: Tensor,
    similarity: Tensor,
    mask: Tensor,
    matching: Matching = "cosine",
    temperature: float = 0.07,
) -> Tensor:
    """Measure how far the scores of texts and pictures are from given similarities.

        L = (L^t2v + L^v2t) / 2   (Equations 12 and 13)

    L^t2v compares each text with all pictures, L^v2t each picture with all texts. It is computed at
    least in float32, also under autocast.

    Args:
        text: (posts, hidden)
        pictures: (posts, hidden)
        similarity: (posts, posts) P, the target: at least 0, with texts as rows and pictures as
            columns. Rows need not sum to one.
        mask: (posts,) bool, True on posts that take part.
        matching: Scores, see `matching_scores`.
        temperature: tau.

    Returns:
        A scalar.
    """
    with torch.autocast(text.device.type, enabled=False):
        text, pictures = at_least_float32(text), at_least_float32(pictures)  # (posts, hidden) each
        text_scores = matching_scores(text, pictures, matching, temperature)  # (posts, posts)
        picture_scores = matching_scores(pictures, text, matching, temperature)  # (posts, posts)
        text_to_picture = divergence(text_scores, similarity, mask)
        picture_to_text = divergence(picture_scores, similarity.T, mask)
        return (text_to_picture + picture_to_text) / 2


def matching_scores(
    rows: Tensor, columns: Tensor, matching: Matching, temperature: float
) -> Tensor:
    """Compute the score of every row vector with every column vector (Equations 7 and 10).

    ``cosine`` is cos(a, b) / tau, ``dot`` is a . b, ``projection`` is a . b / |b| (Zhang and Lu,
    Deep Cross-Modal Projection Learning, ECCV 2018).

    Args:
        rows: (rows, hidden) a.
        columns: (columns, hidden) b.
        matching: Kind of score.
        temperature: tau.

    Returns:
        (rows, columns)
    """
    if matching == "dot":
        return rows @ columns.T
    columns = functional.normalize(columns, dim=-1)
    if matching == "projection":
        return rows @ columns.T
    return functional.normalize(rows, dim=-1) @ columns.T / temperature


def divergence(scores: Tensor, similarity: Tensor, mask: Tensor) -> Tensor:
    """Compute 1/B sum_ij p_ij log(p_ij / (q_ij + eps)) over the posts that take part.

    p = softmax_j(scores) and q_ij = P_ij / sum_k P_ik (Equations 6 to 8). A row of P that is all 0
    gives a uniform q. The result is 0 if no post takes part.

    Args:
        scores: (posts, posts)
        similarity: (posts, posts) P, at least 0.
        mask: (posts,) bool, True on posts that take part; the others are neither rows nor columns.

    Returns:
        ()
    """
    pairs = mask.unsqueeze(1) & mask  # (posts, posts)
    count = mask.sum().clamp(min=1)  # (), B
    scores = scores.masked_fill(~pairs, torch.finfo(scores.dtype).min)
    log_p = scores.log_softmax(1)  # (posts, posts)
    targets = similarity.to(log_p.dtype) * pairs  # (posts, posts)
    total = targets.sum(1, keepdim=True)  # (posts, 1)
    normalised = targets / total.clamp(min=torch.finfo(total.dtype).tiny)
    q = torch.where(total > 0, normalised, 1 / count)  # (posts, posts)
    terms = log_p.exp() * (log_p - (q + _EPSILON).log())  # (posts, posts)
    return terms.masked_fill(~pairs, 0).sum() / count
