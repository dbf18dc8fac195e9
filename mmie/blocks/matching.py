"""Loss that matches the distribution of scores between texts and pictures to a given similarity.

Source: Lu and Guo, Implicit Modality Mining, Journal of Electronic Research and Application, March
2024, Equations 6 to 13.
"""

import torch
from torch import Tensor
from torch.nn import functional

_EPSILON = 1e-8
"""eps of Equation 6."""


def matching_loss(
    text: Tensor, pictures: Tensor, similarity: Tensor, temperature: float, mask: Tensor
) -> Tensor:
    """Measure how far the scores of texts and pictures are from given similarities.

        L = (L^t2v + L^v2t) / 2   with scores s(a, b) = cos(a, b) / tau   (Equations 12 and 13)

    L^t2v compares each text with all pictures, L^v2t each picture with all texts.

    Args:
        text: (posts, hidden)
        pictures: (posts, hidden)
        similarity: (posts, posts) P, the target: at least 0, with texts as rows and pictures as
            columns. Rows need not sum to one.
        temperature: tau.
        mask: (posts,) bool, True on posts that take part.

    Returns:
        A scalar.
    """
    text = functional.normalize(text, dim=-1)
    pictures = functional.normalize(pictures, dim=-1)
    scores = text @ pictures.T / temperature  # (posts, posts)
    text_to_picture = divergence(scores, similarity, mask)
    picture_to_text = divergence(scores.T, similarity.T, mask)
    return (text_to_picture + picture_to_text) / 2


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
